"""Who may call, how much, and from where; and nobody learns a secret."""

import asyncio
import base64
import gzip
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from engram_diagnose.service.doors import unusable_secrets
from engram_diagnose.service.log import Log
from engram_diagnose.service.passwords import SecretFileError, Watched, hashed, parse_logins, parse_token
from engram_diagnose.service.security import Guard
from engram_diagnose.service.settings import Auth, Limits, Settings

TOKEN, OTHER, PASSWORD = "first-token-0123456789", "second-token-987654321", "päss:word 7"


@pytest.fixture
def auth(tmp_path: Path) -> Auth:
    for name, text in {
        "one": TOKEN + "\n",
        "two": OTHER,
        "logins": f"# people\nann:{PASSWORD}\nbob:{hashed('b0b')}\n",
    }.items():
        (tmp_path / name).write_text(text)
    return Auth((tmp_path / "one", tmp_path / "two"), tmp_path / "logins")


async def _body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _own_policy(request: Request) -> Response:
    return PlainTextResponse(
        "", headers={"content-security-policy": "default-src 'self'", "cache-control": "max-age=60"}
    )


class Client:
    """Asks an application without a network."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
            return await client.request(method, path, **more)


class Guarded:
    """An application behind the guard, with what it logged."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.said = io.StringIO()
        routes = [
            Route("/", _body, methods=["GET", "POST"]),
            Route("/own", _own_policy),
            Route("/-/healthy", _body, methods=["GET"]),
        ]
        self.guard = Guard(Router(routes), lambda: self.settings, Log(self.said))
        self.client = Client(self.guard)

    def status(self, **headers: str) -> int:
        found = {name.replace("_", "-"): value for name, value in headers.items()}
        return int(self.client.get("/", headers=found).status_code)


Make = Callable[..., Guarded]


@pytest.fixture
def guarded() -> Make:
    return lambda **settings: Guarded(Settings(**settings))


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def test_both_tokens_and_every_login_let_in(guarded: Make, auth: Auth) -> None:
    app = guarded(auth=auth)
    for value in (f"Bearer {TOKEN}", f"bearer {OTHER}", basic(f"ann:{PASSWORD}"), basic("bob:b0b"), basic("bob:b0b")):
        assert app.status(Authorization=value) == 200


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, f"Token {TOKEN}",
     "Basic ????", basic("ann"), basic("ann:"), basic("ann:wrong"), basic(f"eve:{PASSWORD}"), basic("bob:wrong"),
     basic("nobody:nobody"), basic(":"), basic("# people:"), basic("bob:scrypt$")],
)  # fmt: skip
def test_anything_else_is_turned_away_and_told_how_to_come_in(guarded: Make, auth: Auth, value: str) -> None:
    app = guarded(auth=auth)
    answer = app.client.get("/", headers={"authorization": value})
    assert answer.status_code == 401
    assert "Basic realm=" in answer.headers["www-authenticate"]
    assert "Bearer realm=" in answer.headers["www-authenticate"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "no valid bearer token or login"
    }  # fmt: skip
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Authorization", (f"Bearer {TOKEN}", f"Bearer {TOKEN}")),
        ("Authorization", ("Bearer wrong", f"Bearer {TOKEN}")),
        ("Origin", ("http://localhost", "http://evil.example")),
        ("Origin", ("http://evil.example", "http://localhost")),
        ("Sec-Fetch-Site", ("same-origin", "cross-site")),
        ("Sec-Fetch-Site", ("cross-site", "cross-site")),
        ("Host", ("localhost", "localhost")),
        ("Content-Length", ("0", "0")),
        ("Content-Type", ("application/json", "text/plain")),
    ],
)
def test_a_header_that_may_stand_there_once_is_refused_twice(
    guarded: Make, auth: Auth, name: str, values: tuple[str, str]
) -> None:
    """Two of them count as none for one program and as the first or the last for another."""
    app, answers = guarded(auth=auth), []
    others = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
    headers = [pair for pair in others if pair[0].decode() != name.lower()]
    headers += [(name.lower().encode(), value.encode()) for value in values]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(app.guard(_scope(headers=headers), receive, send))
    assert answers[0]["status"] == 400
    assert f"one {name} header" in answers[1]["body"].decode()


@pytest.mark.parametrize("version", ["0.9", "2.0", "3"])
def test_a_version_of_http_that_needs_no_host_is_not_spoken(guarded: Make, version: str) -> None:
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(guarded().guard(_scope(headers=[], method="GET", http_version=version), receive, send))
    assert answers[0]["status"] == 505


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "LOCK", "TRACE", "anything"])
def test_whatever_may_change_something_is_not_taken_from_another_page(guarded: Make, method: str) -> None:
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"host", b"localhost"), (b"origin", b"http://evil.example")]
    asyncio.run(guarded().guard(_scope(headers=headers, method=method), receive, send))
    assert answers[0]["status"] == 403


def test_probes_need_not_say_who_they_are(guarded: Make, auth: Auth) -> None:
    client = guarded(auth=auth).client
    assert client.get("/-/healthy").status_code == 200
    for path in ("/", "/metrics", "/-/reload", "/-/healthy/", "//-/healthy", "/-/healthy%2f", "/-/HEALTHY"):
        assert client.get(path).status_code == 401


def test_a_token_is_changed_without_a_restart(guarded: Make, auth: Auth) -> None:
    app, path = guarded(auth=auth), auth.bearer_token_files[0]
    path.write_text("a-new-one")
    assert app.status(Authorization="Bearer a-new-one") == 200
    assert app.status(Authorization=f"Bearer {TOKEN}") == 401
    assert app.status(Authorization=f"Bearer {OTHER}") == 200


def test_a_token_whose_file_is_gone_or_empty_lets_nobody_in(guarded: Make, auth: Auth) -> None:
    app, path = guarded(auth=auth), auth.bearer_token_files[0]
    path.unlink()
    assert app.status(Authorization=f"Bearer {TOKEN}") == 401
    for text in ("", "\n", "  "):
        path.write_text(text)
        assert app.status(Authorization="Bearer ") == 401
        assert app.status(Authorization="Bearer") == 401
    assert [str(path) in problem for problem in unusable_secrets(auth)] == [True]


def test_a_password_that_was_proven_is_not_proven_once_the_file_changed(guarded: Make, auth: Auth) -> None:
    app = guarded(auth=auth)
    assert app.status(Authorization=basic("bob:b0b")) == 200
    assert auth.basic_auth_file is not None
    auth.basic_auth_file.write_text(f"bob:{hashed('other')}\n")
    assert app.status(Authorization=basic("bob:b0b")) == 401


def test_settings_that_were_reloaded_count_at_once(guarded: Make, auth: Auth) -> None:
    app = guarded()
    assert app.status() == 200
    app.settings = Settings(auth=auth)
    assert app.status() == 401


def test_a_wrong_token_takes_as_long_wherever_it_begins_to_differ(tmp_path: Path) -> None:
    """Digests of equal length are compared, so that the place of the first difference cannot be timed."""
    token = "k" * 100_000
    watched = Watched(_written(tmp_path / "token", token), parse_token)
    from engram_diagnose.service.passwords import digest_of

    assert len(watched.value()) == 32
    early, late = digest_of(b"x" + token[1:].encode()), digest_of(token[:-1].encode() + b"x")
    assert len(early) == len(late) == 32
    assert early[:1] != late[:1] or early != late


def test_an_unknown_user_takes_as_long_as_a_wrong_password(guarded: Make, auth: Auth) -> None:
    app = guarded(auth=auth)

    def seconds(login: str) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            assert app.status(Authorization=basic(login)) == 401
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    unknown, wrong = seconds("eve:wrong"), seconds("bob:wrong")
    assert 0.3 < unknown / wrong < 3


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line user:password"),
        ("ann", "line 1 is not user:password"),
        ("# x\n\n:word", "line 3 is not user:password"),
        ("ann:scrypt$1$8$1$AA==$AA==", "line 1 has a hash of another kind"),
        ("ann:scrypt$" + "9" * 30 + "$8$1$AA==$AA==", "line 1 has a hash of another kind"),
        ("ann:scrypt$16384$8$1$?$?", "line 1 has a hash of another kind"),
    ],
)
def test_a_file_of_logins_that_is_wrong_is_told_by_line_and_never_by_content(
    tmp_path: Path, text: str, said: str
) -> None:
    path = _written(tmp_path / "logins", text)
    with pytest.raises(SecretFileError, match=said) as caught:
        Watched(path, parse_logins).value()
    assert str(path) in str(caught.value)
    assert "AA==" not in str(caught.value)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=20))
def test_any_password_can_be_hashed_and_is_found_again(password: str) -> None:
    ((_, one),) = parse_logins(f"ann:{hashed(password, salt=b'x' * 16)}").hashed
    assert one.matches(password.encode())
    assert not one.matches(password.encode() + b"x")


def test_secrets_stand_in_no_log_and_no_answer(guarded: Make, auth: Auth) -> None:
    app = guarded(auth=auth)
    for value in (f"Bearer {TOKEN}wrong", basic("ann:very-secret"), f"Bearer {TOKEN}"):
        answer = app.client.get("/", headers={"authorization": value})
        assert TOKEN not in answer.text
    assert "request refused" in app.said.getvalue()
    for secret in (TOKEN, "very-secret", value, base64.b64encode(b"ann:very-secret").decode()):
        assert secret not in app.said.getvalue()


# Bodies


def test_a_body_over_the_limit_is_refused_by_what_it_announces(guarded: Make) -> None:
    app = guarded(limits=Limits(body_bytes=1024))
    assert app.client.post("/", content=b"x" * 1024).text == "1024"
    answer = app.client.post("/", content=b"x" * 1025)
    assert answer.status_code == 413
    assert "limits.body_bytes" in answer.json()["detail"]


def test_a_body_that_announces_nothing_is_cut_off_while_it_streams(guarded: Make) -> None:
    app = guarded(limits=Limits(body_bytes=1024))
    asked = []

    async def receive() -> dict[str, Any]:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 400, "more_body": True}

    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(app.guard(_scope(), receive, send))
    assert answers[0]["status"] == 413
    assert len(asked) == 3


def _scope(**more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")],
        **more,
    }


def test_packed_bodies_are_not_unpacked(guarded: Make) -> None:
    client = guarded().client
    for coding in ("gzip", "br", "deflate", "zstd", "gzip, identity", "GZIP"):
        answer = client.post("/", content=gzip.compress(b"{}"), headers={"content-encoding": coding})
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "identity"
    assert client.post("/", content=b"{}", headers={"content-encoding": "identity"}).status_code == 200


# Browsers


def test_every_answer_tells_browsers_to_be_careful(guarded: Make, auth: Auth) -> None:
    for app, status in ((guarded(), 200), (guarded(auth=auth), 401)):
        answer = app.client.get("/")
        assert answer.status_code == status
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers


def test_a_page_may_say_its_own(guarded: Make) -> None:
    answer = guarded().client.get("/own")
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert answer.headers["cache-control"] == "max-age=60"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"origin": "http://LOCALHOST"}, 200),
        ({"origin": "https://diagnose.example"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_a_form_of_another_page_changes_nothing(guarded: Make, headers: dict[str, str], status: int) -> None:
    client = guarded(public_url="https://diagnose.example").client
    assert client.post("/", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7433", 200),
        ("127.0.0.1:7433", 200),
        ("[::1]:7433", 200),
        ("diagnose.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:7433", 421),
        ("[::1", 421),
        ("evil.example@localhost", 200),
    ],
)
def test_a_name_that_another_site_points_here_is_not_served(guarded: Make, host: str, status: int) -> None:
    client = guarded(public_url="https://diagnose.example").client
    assert client.get("/", headers={"host": host}).status_code == status


def test_where_callers_say_who_they_are_any_name_will_do(guarded: Make, auth: Auth) -> None:
    client = guarded(auth=auth, listen="0.0.0.0:1").client
    assert client.get("/", headers={"host": "a.example", "authorization": f"Bearer {TOKEN}"}).status_code == 200


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"host", b"authorization", b"content-length", b"transfer-encoding", b"content-encoding",
                             b"origin", b"sec-fetch-site", b"x"]),
            st.binary(max_size=20),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_no_headers_make_the_guard_fail(headers: list[tuple[bytes, bytes]]) -> None:
    app, answers = Guarded(Settings()), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(app.guard(_scope(headers=headers), receive, send))
    assert answers[0]["status"] in (200, 400, 403, 413, 415, 421)
