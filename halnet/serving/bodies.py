"""Bodies: the photos in a request, read with limits. They are kept in memory and never written."""

import asyncio
import base64
import logging
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from halnet.json_text import parse_json
from halnet.serving.config import Limits
from halnet.serving.refusal import Refusal

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it logs bytes of bad forms

PHOTO = "photo"  # key of the JSON body, and the name of a photo that has none
FORM, JSON = "multipart/form-data", "application/json"
# An object with one text, perhaps after a byte order mark. No character is looked at twice.
TEXT = rb'("(?:[^"\\]++|\\.)*+")'
JSON_PHOTO = re.compile(
    rb"[ \t\r\n]*+".join(
        [rb"(?:\xef\xbb\xbf)?", rb"\{", b'"%s"' % PHOTO.encode(), b":", TEXT, rb"\}", b""]
    ),
    re.DOTALL,
)


@dataclass(frozen=True)
class SentPhoto:
    """A photo in a request."""

    name: str  # as the client names it
    data: bytes


@dataclass(frozen=True)
class SentPhotos:
    """The photos in a request."""

    photos: tuple[SentPhoto, ...]  # at least one
    listed: bool  # whether they came as the files of a form; otherwise, there is one


class _MemoryParser(MultiPartParser):
    """A parser of forms that keeps files in memory. Starlette's writes those above 1 MB to disk."""

    spool_max_size = 0  # no limit; that of the request holds
    is_whole = False  # whether the last boundary has come

    def on_end(self) -> None:
        """Remember that the form has come to its end. Starlette does not ask for it."""
        self.is_whole = True


async def read_photos(request: Request, limits: Limits) -> SentPhotos:
    """Return the photos of a request: files of a form, a photo in base64 in JSON, or its bytes.

    Raises Refusal for a body that is too large, empty or damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        return SentPhotos(await _read_form(request, limits), listed=True)
    body = await read_body(request, limits.bytes)
    if not body:
        raise Refusal(400, "body: expected the bytes of a photo, found an empty request")
    photo = await asyncio.to_thread(_read_base64, body) if kind == JSON else body
    return SentPhotos((SentPhoto(PHOTO, photo),), listed=False)


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request. Raises Refusal if it has more bytes than `limit`."""
    return b"".join([part async for part in _stream(request, limit)])


async def _stream(request: Request, limit: int) -> AsyncGenerator[bytes]:
    """Yield the parts of a body, and count their bytes, which no header has to state."""
    encoding = request.headers.get("content-encoding", "")
    if encoding.lower() not in ("", "identity"):
        raise Refusal(
            415,
            f"Content-Encoding: expected none, found {encoding[:40]}; send the bytes as they are",
        )
    stated = request.headers.get("content-length", "0")
    count = int(stated) if stated.isascii() and stated.isdigit() else 0
    _check_size(count, limit)
    count = 0
    async for part in request.stream():
        count += len(part)
        _check_size(count, limit)
        yield part


def _check_size(count: int, limit: int) -> None:
    if count > limit:
        raise Refusal(413, f"body: expected at most {limit:,} bytes, found more; send less")


async def _read_form(request: Request, limits: Limits) -> tuple[SentPhoto, ...]:
    parser = _MemoryParser(
        request.headers,
        _stream(request, limits.bytes),
        max_files=limits.photos,
        max_fields=0,  # options are in the address
    )
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError) as error:  # KeyError: no boundary
        reason = getattr(error, "message", str(error))
        raise Refusal(
            400, f"form: expected one to {limits.photos} files and no other fields, found: {reason}"
        ) from error
    try:
        if not parser.is_whole:
            raise Refusal(
                400,
                "form: expected the boundary that ends a form, found none, so that photos may be "
                "missing; send the whole form again",
            )
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        if not files:
            raise Refusal(400, "form: expected at least one file, found none")
        return tuple([SentPhoto(_name(file), await file.read()) for file in files])
    finally:
        await form.close()


def _name(file: UploadFile) -> str:
    """Return the name of a file, as far as it is text: the client chooses the encoding."""
    return (file.filename or PHOTO).encode(errors="replace").decode()


def _read_base64(body: bytes) -> bytes:
    """Return the photo in a JSON object. Other JSON is not parsed, as it may need much memory."""
    found = JSON_PHOTO.fullmatch(body)
    try:
        if found is None:
            raise ValueError("another object")
        is_escaped = b"\\" in found[1]  # such as \\u003d for =
        text = parse_json(found[1]) if is_escaped else found[1][1:-1]
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refusal(
            400, f'JSON: expected {{"{PHOTO}": "the bytes of a photo in base64"}}, found others'
        ) from error
