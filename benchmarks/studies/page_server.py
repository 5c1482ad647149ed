"""A file server for pages that run in a browser, on this machine alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# With these headers, a page is cross-origin isolated, which browsers demand for threads.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


@contextmanager
def serving(folder: Path, isolated: bool = False) -> Iterator[str]:
    """Serve the files of a folder, and yield the address of the server, without a slash at its end.

    With `isolated`, its pages are cross-origin isolated.
    """

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in ISOLATION.items() if isolated else ():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
