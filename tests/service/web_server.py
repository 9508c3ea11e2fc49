"""A web server of a test's own: it listens on a free port, answers as it is told, and ends with the test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Reply:
    body: str = ""
    status: int = 200
    kind: str = ""
    """Its media type."""


class Silent(ThreadingHTTPServer):
    """Does not show what goes wrong in a handler: whoever asked may have been killed."""

    def handle_error(self, request: object, client_address: object) -> None:
        return


@contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler], *, by: type[ThreadingHTTPServer] = ThreadingHTTPServer
) -> Iterator[str]:
    """The URL of a server that handles each request on a thread of its own."""
    server = by(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answering(
    reply: Callable[[str, str], Reply],
    *,
    protocol: str = "HTTP/1.0",
    by: type[ThreadingHTTPServer] = ThreadingHTTPServer,
) -> AbstractContextManager[str]:
    """The URL of a server that answers a GET, or a POST, by its path and its body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_GET(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = reply(self.path, asked.decode())
            body = said.body.encode()
            self.send_response(said.status)
            if said.kind:
                self.send_header("Content-Type", said.kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 -- the name is the library's

        def log_message(self, *_: object) -> None:
            return

    return listening(Handler, by=by)
