"""Refusals: why a request gets no result, as a status of HTTP and one clear line."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response


class Refusal(Exception):  # noqa: N818 (no error of the program)
    """A request that is not carried out. Its answer is {"error": message}."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    def to_response(self) -> Response:
        """Return the answer."""
        return JSONResponse({"error": self.message}, self.status, self.headers)
