"""
A server just large enough to be loaded: the guide's paths in memory, one queue, and ways to misbehave.

    python small_server.py MODE [SERVICE_MICROSECONDS] [NUMBER]

Prints its port on one line. MODE is one of `MODES`; NUMBER is what the mode asks for.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httptools
import numpy as np
import uvloop

MODES = (
    "healthy",
    "locked",  # 401 without the key `secret`
    "busy",  # 429 to everything
    "busy-after",  # 429 to everything after NUMBER requests
    "sick",  # 503 to health
    "failing-after",  # 503 to everything after NUMBER requests
    "garbage",  # 200 and nonsense
    "garbage-after",  # the same after NUMBER requests
    "elsewhere",  # 404 to everything
    "moved",  # a redirect
    "dies-after",  # the process ends after NUMBER requests
    "hangs",  # answers nothing
    "hangs-after",  # answers nothing after NUMBER requests
    "closes",  # closes every connection
    "no-http",  # answers with what is no HTTP
    "keeps-spaces",  # knows no removal of spaces
    "forgetful",  # finds nothing
    "misses",  # finds NUMBER percent of the true neighbours
    "release",  # JSON metrics, memories by how vivid they are
)

METRICS = """\
# TYPE engram_operations_total counter
engram_operations_total {count}
# TYPE engram_store_operations_total counter
engram_store_operations_total{{memory_space="default"}} {stores}
# TYPE engram_recall_operations_total counter
engram_recall_operations_total{{memory_space="default"}} {recalls}
"""


class Space:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.words: dict[str, list[int]] = {}
        self.vectors: dict[int, Any] = {}


class Store:
    """What all connections share."""

    def __init__(self, mode: str, service: float, number: int) -> None:
        self.mode, self.service, self.number = mode, service, number
        self.spaces: dict[str, Space] = {}
        self.count = self.stores = self.recalls = 0
        self.free_at = 0.0

    def space(self, name: str) -> Space:
        return self.spaces.setdefault(name, Space())

    def remember(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        text = body.get("content")
        if not isinstance(text, str) or not text:
            return 400, {"error": "content is missing"}
        space = self.space(name)
        row = len(space.texts)
        space.texts.append(text)
        for word in set(text.split()):
            space.words.setdefault(word, []).append(row)
        if body.get("embedding"):
            space.vectors[row] = np.array(body["embedding"], np.float32)
        self.stores += 1
        return 201, {"memory_id": f"{name}-{row}", "storage_confidence": {"value": 0.9}}

    def recall(self, name: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        self.recalls += 1
        space, count = self.space(name), int(query.get("max_results", ["10"])[0])
        if self.mode == "forgetful":
            return 200, {"memories": []}
        if "embedding" in query:
            rows = self.nearest(space, json.loads(query["embedding"][0]), count)
        else:
            rows = []
            for word in query.get("query", [""])[0].split():
                rows += reversed(space.words.get(word, ())[-count:])
        found = [{"id": f"{name}-{row}", "content": space.texts[row], "confidence": {"value": 0.5}}
                 for row in dict.fromkeys(rows)][:count]  # fmt: skip
        if self.mode == "release":
            return 200, {"memories": {"vivid": found, "associated": [], "reconstructed": []}, "metadata": {}}
        return 200, {"memories": found}

    def nearest(self, space: Space, vector: list[float], count: int) -> list[int]:
        rows = sorted(space.vectors)
        if not rows:
            return []
        near = np.stack([space.vectors[row] for row in rows]) @ np.array(vector, np.float32)
        best = [rows[index] for index in np.argsort(-near, kind="stable")]
        if self.mode == "misses":
            keep = count * self.number // 100
            return best[:keep] + best[-(count - keep) :] if keep < count else best[:count]
        return best[:count]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.count += 1
        parts = urlsplit(target)
        path, query = parts.path, parse_qs(parts.query)
        late = self.count > self.number
        if self.mode == "locked" and headers.get("authorization") != "Bearer secret":
            return 401, {"error": "no"}
        if self.mode == "busy" or (self.mode == "busy-after" and late):
            return 429, {"error": "slow down"}
        if self.mode == "failing-after" and late:
            return 503, {"error": "overloaded"}
        if self.mode == "sick" and "health" in path:
            return 503, {"status": "recovering"}
        if (self.mode == "garbage" and "memories" in path) or (self.mode == "garbage-after" and late):
            return 200, "<html>It works!</html>"
        if self.mode == "elsewhere":
            return 404, {"error": "not here"}
        if self.mode == "moved":
            return 302, ""
        if path in ("/health", "/api/v1/system/health"):
            return 200, {"status": "healthy", "version": "9.9"}
        if path == "/metrics":
            if self.mode == "release":
                return 200, {"snapshot": {"schema_version": "1.1.0", "one_minute": {}}, "export": {}}
            return 200, METRICS.format(count=self.count, stores=self.stores, recalls=self.recalls)
        space = headers.get("x-memory-space", "default")
        if path == "/api/v1/memories/remember" and method == "POST":
            try:
                return self.remember(space, json.loads(body))
            except ValueError:
                return 400, {"error": "not JSON"}
        if path == "/api/v1/memories/recall":
            return self.recall(space, query)
        if path == "/api/v1/memories":
            total = sum(len(one.texts) for one in self.spaces.values())
            return 200, {"tier_counts": {"hot": total, "warm": 0, "cold": 0, "total": total}}
        if path.startswith("/api/v1/spaces/") and method == "DELETE" and self.mode != "keeps-spaces":
            return (204, "") if self.spaces.pop(unquote(path.rpartition("/")[2]), None) else (404, {"error": "unknown"})
        if path == "/left":  # for tests: the spaces that are there, and how many requests came
            return 200, {"spaces": sorted(self.spaces), "count": self.count, "stores": self.stores}
        return 404, {"error": "no such path"}


REASONS = {200: "OK", 201: "Created", 204: "No Content", 302: "Found"}


class Connection(asyncio.Protocol):
    def __init__(self, store: Store) -> None:
        self.store = store
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body, self.headers = b"", b"", {}  # type: ignore[var-annotated]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.store.mode == "closes":
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.store.mode == "no-http":
            self.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")  # type: ignore[attr-defined]
            return
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.body, self.headers = b"", b"", {}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        store = self.store
        late = store.count >= store.number
        if store.mode == "hangs" or (store.mode == "hangs-after" and late):
            store.count += 1
            return
        if store.mode == "dies-after" and late:
            os._exit(1)
        method = self.parser.get_method().decode()
        status, said = store.answer(method, self.url.decode(), self.headers, self.body)
        body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        where = b"Location: /there\r\n" if status == 302 else b""
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (
            status, REASONS.get(status, "No").encode(), where, len(body))  # fmt: skip
        self.later(head + body)

    def later(self, answer: bytes) -> None:
        """After the work that stands in the queue already."""
        store = self.store
        if not store.service:
            self.write(answer)
            return
        now = time.monotonic()
        store.free_at = max(now, store.free_at) + store.service
        asyncio.get_running_loop().call_later(store.free_at - now, self.write, answer)

    def write(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)  # type: ignore[attr-defined]


async def serve(store: Store) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(store), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = [*sys.argv[1:], "0", "0"]
    uvloop.install()
    asyncio.run(serve(Store(arguments[0], float(arguments[1]) / 1e6, int(arguments[2]))))
