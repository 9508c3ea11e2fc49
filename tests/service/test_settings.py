"""Settings say what is allowed, and refuse everything else by its place."""

import dataclasses
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engram_diagnose.service.cautions import cautions
from engram_diagnose.service.reading import SettingsError, is_loopback, read_settings, weakened
from engram_diagnose.service.settings import Auth, Login, Settings

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "serve.toml"
        path.write_text(text)
        return path

    return written


def refused(path: Path | None, **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(path, overrides)
    return str(caught.value)


def test_without_a_file_the_service_is_for_this_host_alone() -> None:
    settings = read_settings()
    assert settings == Settings()
    assert is_loopback(settings.host)
    assert settings.port == 7433


def test_a_file_sets_what_it_names_and_nothing_else(write: Write) -> None:
    settings = read_settings(
        write(
            'listen = "[::1]:9"\n[limits]\nconnections = 7\n[prometheus]\nurl = "http://p:9090/x/"\ntimeout_seconds = 3'
        )
    )
    assert (settings.host, settings.port, settings.limits.connections) == ("::1", 9, 7)
    assert settings.prometheus.login.timeout_seconds == 3.0
    assert settings.limits.body_bytes == Settings().limits.body_bytes


def test_the_command_line_goes_before_the_file(write: Write) -> None:
    path = write('listen = "127.0.0.1:1"\n')
    assert read_settings(path, {"listen": "127.0.0.1:2"}).port == 2
    assert read_settings(path, {"alertmanager.urls": ("http://a:1", "http://b:1")}).alertmanager.urls == (
        "http://a:1",
        "http://b:1",
    )


def test_paths_are_relative_to_the_settings_and_on_the_command_line_to_where_it_is_typed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "rules").mkdir()
    path = write('[auth]\nbearer_token_files = ["token"]\n')
    monkeypatch.chdir(tmp_path / "here")
    settings = read_settings(path, {"rules": (Path("rules"),)})
    assert settings.auth.bearer_token_files == (tmp_path / "token",)
    assert settings.rules == (tmp_path / "here" / "rules",)


def test_all_problems_are_named_at_once_with_file_key_and_what_is_allowed(write: Write) -> None:
    path = write(
        'listen = "7433"\nlisten_at = 1\n[limits]\nqueue = 0\nconnection = 5\n[worker]\nattempts = true\n[auth]\n'
        'bearer_token_files = ["none"]\n[retention]\ndays = "many"\n'
    )
    lines = refused(path).splitlines()
    assert len(lines) == 7
    assert all(str(path) in line for line in lines)
    text = "\n".join(lines)
    assert "listen must be an address and port such as 127.0.0.1:7433" in text
    assert "limits.queue must be a whole number from 1 to 1000000, not '0'" in text
    assert "there is no setting 'limits.connection'; did you mean connections?" in text
    assert "worker.attempts must be a whole number" in text
    assert f"there is no file {path.parent / 'none'}" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits = 3", "limits must be a table, written [limits]"),
        ("listen = ", "it is not TOML"),
        ('targets = "best"', "targets must be one of floor, target, baseline"),
        ('public_url = "https://user:secret@x"', "public_url must be a URL"),
        ('public_url = "https://x/\\"><script>"', "public_url must be a URL"),
        ('listen = "127.0.0.1:70000"', "listen must be an address and port"),
        ('listen = "300.1.1.1:80"', "listen must be an address and port"),
        ('[auth]\nbearer_token_files = ["a", "b", "c"]', "a list of paths, 2 at most"),
        ('[tls]\ncertificate = "serve.toml"', "tls.certificate and tls.key need each other"),
        ('[prometheus]\nclient_key = "serve.toml"', "prometheus.client_key has no prometheus.client_cert"),
        ('[webhook]\nurl = "http://x"\nurl_file = "serve.toml"', "exclude each other"),
        ("[alertmanager]\nrefresh_seconds = 300", "resolve_after_seconds must be above"),
        ("[limits]\ndeadline_seconds = nan", "limits.deadline_seconds must be a number from 0.1 to 600"),
        ("[limits]\ndeadline_seconds = inf", "limits.deadline_seconds must be a number from 0.1 to 600"),
        ('[incidents]\nlabels = ["a", "a"]', "a list of different names"),
        ('rules = ["."]\n[auth]\nbasic_auth_file = "."', "is a folder, not a file"),
    ],
)
def test_what_is_not_allowed_is_said_in_words(write: Write, text: str, said: str) -> None:
    assert said in refused(write(text))


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: cannot read the settings: No such file" in refused(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "it is not UTF-8" in refused(tmp_path / "binary")


def test_a_flag_that_is_wrong_is_named_as_a_flag() -> None:
    assert refused(None, listen="nowhere").startswith("serve: --listen must be an address and port")
    assert refused(None, **{"prometheus.url": "ftp://x"}).startswith("serve: --prometheus must be a URL")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "[2001:db8::1]", "diagnose.example"])
def test_beyond_this_host_somebody_has_to_ask_who_calls(write: Write, tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("secret")
    listen = f'listen = "{host}:7433"\n'
    assert "can be reached from other hosts, and nobody is asked who they are" in refused(write(listen))
    assert "allow_unauthenticated" in refused(write(listen))
    read_settings(write(listen + "allow_unauthenticated = true\n"))
    read_settings(write(listen + '[auth]\nbearer_token_files = ["token"]\n'))
    read_settings(write(listen + '[auth]\nbasic_auth_file = "token"\n'))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_on_this_host_nobody_has_to(write: Write, host: str) -> None:
    read_settings(write(f'listen = "{host}:7433"\n'))


@pytest.mark.parametrize(
    "host",
    ["[::1%eth0]", "[fe80::1%eth0]", "[::1%25eth0]", "0", "1", "127.1", "127.0.1", "0x7f.1", "0x7f000001",
     "017700000001", "0177.0.0.1", "127.0.0.1.", "127.0.0.01", "2130706433", "a.1", "[::ffff:0.0.0.0]",
     "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "*", "", "[]", "[127.0.0.1]", "::1", "[::1", "::1]", "[[::1]]", "-", "a..b",
     "a b", "ü.example"],
)  # fmt: skip
def test_an_address_that_may_be_taken_for_another_is_refused(write: Write, host: str) -> None:
    assert "listen must be an address and port" in refused(
        write(f'listen = "{host}:7433"\nallow_unauthenticated = true')
    )


def test_an_address_within_another_is_for_this_host_where_the_inner_one_is() -> None:
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:0.0.0.0")
    assert not is_loopback("::ffff:192.0.2.1")
    assert not is_loopback("localhost.example")


def test_a_reload_takes_no_lock_away_and_may_change_or_add_one() -> None:
    token, login = Auth((Path("token"),)), Auth(basic_auth_file=Path("people"))
    for before, after, said in (
        (Settings(auth=token), Settings(), "[auth] is gone"),
        (Settings(auth=login), Settings(), "[auth] is gone"),
        (Settings(auth=token), Settings(allow_unauthenticated=True), "[auth] is gone"),
        (Settings(auth=token), Settings(auth=token, allow_unauthenticated=True), "allow_unauthenticated is newly set"),
        (Settings(), Settings(allow_unauthenticated=True), "allow_unauthenticated is newly set"),
    ):
        text = "; ".join(weakened(before, after))
        assert said in text
        assert "restart it" in text
    for before, after in (
        (Settings(auth=token), Settings(auth=login)),
        (Settings(), Settings(auth=token)),
        (Settings(allow_unauthenticated=True), Settings(auth=token)),
        (Settings(allow_unauthenticated=True), Settings(allow_unauthenticated=True)),
        (Settings(), Settings()),
    ):
        assert list(weakened(before, after)) == []


def test_how_many_incidents_are_announced_can_be_set_within_bounds(write: Write) -> None:
    assert read_settings().alertmanager.most_announced == 100
    assert read_settings(write("[alertmanager]\nmost_announced = 7")).alertmanager.most_announced == 7
    for number in ("0", "10001", "true", "1.5"):
        assert "most_announced must be a whole number" in refused(write(f"[alertmanager]\nmost_announced = {number}"))


def test_what_may_hold_a_secret_is_never_shown(write: Write) -> None:
    path = write(
        '[prometheus]\nurl = "http://u:geheim@p:9090"\nheaders = {X-Key = "geheim"}\n'
        '[webhook]\nurl = "https://hooks.example/geheim?k=geheim"\n[alertmanager]\nurls = ["http://u:geheim@a:1"]\n'
    )
    settings = read_settings(path)
    assert "geheim" not in repr(settings)
    wrong = write('[prometheus]\nurl = "geheim"\nheaders = {"X Key" = "geheim"}\n[webhook]\nurl = "geheim"\n')
    assert "geheim" not in refused(wrong)


def test_settings_travel_to_the_worker_unchanged(write: Write) -> None:
    settings = read_settings(write('[prometheus]\nheaders = {X-Scope-OrgID = "a"}\n'))
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_links_start_with_the_public_address() -> None:
    assert Settings().base_url == "http://127.0.0.1:7433"
    assert Settings(public_url="https://x.example/engram/").base_url == "https://x.example/engram"
    assert Settings(public_url="https://x.example/engram").base_path == "/engram"


def test_cautions_name_what_is_seldom_meant(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o644)
    settings = read_settings(write('listen = "0.0.0.0:1"\n[auth]\nbearer_token_files = ["token"]\n'))
    text = "\n".join(cautions(settings))
    for named in ("prometheus.url", "alertmanager.urls", "tls", "public_url", "chmod 600"):
        assert named in text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["127.0.0.1:1", "http://x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def keys_of(kind: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for one in dataclasses.fields(kind):
        if "key" in one.metadata:
            yield prefix + one.name, one
        else:
            yield from keys_of(one.default_factory, prefix if one.default_factory is Login else f"{one.name}.")


@pytest.mark.parametrize("name", [name for name, _ in keys_of(Settings)])
@given(value=VALUES)
@examples(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_for_any_key_is_taken_or_refused_in_words(name: str, value: Any) -> None:
    about = dict(keys_of(Settings))[name].metadata["key"]
    try:
        about.parse(value)
    except ValueError:
        return


def row(name: str, one: dataclasses.Field[Any]) -> str:
    about = one.metadata["key"]
    default = one.default if one.default is not dataclasses.MISSING else {}
    allowed = about.allowed[0].upper() + about.allowed[1:]
    return f"| `{name}` | {written(default)} | {about.doc} {allowed}. |"


def written(default: Any) -> str:
    """A default as TOML has it; nothing where a key that is left out means more than an empty one."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"`{default:.15g}`"
    if isinstance(default, tuple) and default:
        return "`[" + ", ".join(f"'{item}'" if '"' in str(item) else f'"{item}"' for item in default) + "]`"
    return f'`"{default}"`' if default else ""


def test_the_reference_page_has_every_key_as_the_code_has_it(root: Path) -> None:
    page = (root / "docs/reference/service-settings.md").read_text()
    rows = [row(name.rpartition(".")[2], one) for name, one in keys_of(Settings)]
    missing = [line for line in rows if line not in page]
    assert missing == []
    assert len(re.findall(r"^\| `[a-z]", page, re.MULTILINE)) == len(rows)
