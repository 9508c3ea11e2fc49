"""
Stands in for a server: `standin.py FOLDER` listens (on any port, or on `--port`), keeps a write-ahead log open and
flushes it, and may call itself anything (`--name-hex`). Writes its port to FOLDER/port.
"""

import ctypes
import http.server
import os
import sys
import threading
import time
from pathlib import Path

ANSWERS = {"/metrics": b"engram_store_operations_total 5\n", "/health": b'{"version": "9"}'}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = ANSWERS.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def main(folder: Path, name: bytes, port: int) -> None:
    if name:
        ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with (folder / "wal-0001.log").open("ab", buffering=0) as log:
        (folder / "port.new").write_text(str(server.server_port))
        (folder / "port.new").rename(folder / "port")
        while True:
            log.write(b"x" * 512)
            os.fsync(log.fileno())
            time.sleep(0.02)


if __name__ == "__main__":
    given = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    main(Path(sys.argv[1]), bytes.fromhex(given.get("--name-hex", "")), int(given.get("--port", "0")))
