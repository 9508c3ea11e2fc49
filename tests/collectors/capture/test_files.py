"""Finding and reading the configuration, without its secrets."""

import hashlib
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.files import (
    configuration,
    configuration_paths,
    find_configuration,
    server_environment,
)
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.secrets import mask_arguments, mask_toml

SECRETS = '''\
[server]
http_bind = "127.0.0.1:7432"
api_key = "hunter2" # was "hunter2"
token_ttl = 300
auth = { user = "u", token = "hunter2" }
# password = "hunter2"
api_keys = [
  "hunter2", 'hunter2',
]
peer = "kept"
tls_private_key = """
hunter2
"""
[security.tokens]
alice = "hunter2"
list = [
 "hunter2",
]
[storage]
hot_tier_size_mb = 2048
backup = "https://user:hunter2@backup/x"
[client_secret]
value = "hunter2"'''

MACHINE = Machine("id", now=lambda: 1.0)


def test_secrets_are_masked_and_the_rest_stays_as_it_was() -> None:
    masked = mask_toml(SECRETS)
    assert "hunter2" not in masked
    assert len(masked.splitlines()) == len(SECRETS.splitlines())
    values = tomllib.loads(masked)
    assert values["storage"]["hot_tier_size_mb"] == 2048
    assert values["server"]["token_ttl"] == 300
    assert values["server"]["peer"] == "kept"


def test_a_configuration_without_secrets_is_not_touched() -> None:
    plain = '[wal]\nbuffer_size_mb = 64 # MB\nsync_mode = "batch"\n'
    assert mask_toml(plain) == plain


def test_a_secret_that_is_not_even_quoted_is_masked() -> None:
    assert "hunter2" not in mask_toml("password = hunter2\n")


@given(st.text(alphabet="tokenapi_key=\"'[]{}=,#\n\\ x1", max_size=60))
def test_masking_keeps_every_line_in_its_place(text: str) -> None:
    assert mask_toml(text).count("\n") == text.count("\n")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_masking_never_fails(text: str) -> None:
    mask_toml(text)
    mask_arguments(text)


@pytest.mark.parametrize("option", ["--api-key=hunter2", "--token\0hunter2", "-x\0http://u:hunter2@h"])
def test_secret_options_are_masked(option: str) -> None:
    masked = mask_arguments(f"engram\0start\0{option}\0--port\0007432\0")
    assert "hunter2" not in masked
    assert "7432" in masked


def test_the_configuration_carries_the_digest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(SECRETS)
    answer = configuration(MACHINE, str(path))
    assert (answer.collector, answer.name) == ("config", str(path))
    digest, _, modified = answer.detail.partition(" modified ")
    assert digest == "sha256:" + hashlib.sha256(SECRETS.encode()).hexdigest()
    assert float(modified) == pytest.approx(path.stat().st_mtime, abs=0.001)
    assert "hunter2" not in (answer.body or "")


def test_a_configuration_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    assert configuration(MACHINE, str(tmp_path / "none.toml")).reason == "SOURCE_ABSENT"


def test_a_huge_configuration_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"#" * ((16 << 20) + 1))
    assert configuration(MACHINE, str(path)).reason == "TOO_EXPENSIVE"


@pytest.mark.parametrize(
    "text",
    ["# password=hunter2 in a comment\n" * 300_000, "[" * (10 << 20), "'" * (10 << 20), "[a]\nb = 1\n" * (1 << 20)],
    ids=["comments", "brackets", "quotes", "sections"],
)
def test_a_configuration_of_ten_megabytes_is_read_in_time(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    start = time.process_time()
    answer = configuration(MACHINE, str(path))
    assert time.process_time() - start < 60  # a pattern that takes quadratic time takes days
    assert answer.body is not None
    assert "hunter2" not in answer.body


def test_places_follow_the_environment_of_the_server() -> None:
    patterns = ("$XDG_CONFIG_HOME/engram/config.toml", "~/.config/engram/config.toml", "/etc/e.toml")
    full = configuration_paths(patterns, {"HOME": "/srv/e", "XDG_CONFIG_HOME": "/cfg"})
    assert full == ["/cfg/engram/config.toml", "/srv/e/.config/engram/config.toml", "/etc/e.toml"]
    home = configuration_paths(patterns, {"HOME": "/srv/e"})
    assert home == ["/srv/e/.config/engram/config.toml", "/etc/e.toml"]
    assert configuration_paths(patterns, {}) == ["/etc/e.toml"]


def test_the_first_place_with_a_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("")
    patterns = [str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]
    assert find_configuration(patterns, {}) == str(tmp_path / "b.toml")
    assert find_configuration(patterns[:1], {}) == ""


def test_of_the_servers_environment_only_places_are_kept(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42/environ").write_bytes(b"HOME=/srv/e\0API_TOKEN=hunter2\0\xff=1\0")
    assert server_environment(42, proc_root=str(tmp_path)) == {"HOME": "/srv/e"}
    assert server_environment(43, proc_root=str(tmp_path)) == {}


@pytest.mark.parametrize(
    "key",
    ["jwt", "bearer", "pass", "db_pass", "passphrase", "access_key", "signing-key", "hmac_key", "pwd", "refresh_token"],
)
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    masked = mask_toml(f'[server]\n{key} = "hunter2"\n')
    assert tomllib.loads(masked)["server"][key] == "***"


@pytest.mark.parametrize(
    "value",
    [
        "postgres://db/x?user=u&password=hunter2&ssl=1",
        "https://blob/x?sv=1&sig=hunter2",
        "host=db,token=hunter2",
        "host=db password='hunter2' port=1",
        "https://user:hunt@hunter2@db/x",
        "Authorization: Bearer hunter2hunter2",
    ],
)
def test_a_secret_within_a_value_is_masked_and_the_rest_of_it_kept(value: str) -> None:
    masked = mask_toml(f'[x]\nplace = "{value}" # {value}\nsize = 3\n')
    assert "hunter2" not in masked
    assert tomllib.loads(masked)["x"]["size"] == 3
    assert tomllib.loads(masked)["x"]["place"][:4] == value[:4]
    assert "hunter2" not in mask_arguments(f"engram\0--place\0{value}\0")


@pytest.mark.parametrize("section", ["auth", "security", "server.security", "credentials"])
def test_sections_about_access_keep_their_figures_and_their_mode(section: str) -> None:
    text = f'[{section}]\nauth_mode = "token"\nalice = "hunter2"\nttl = 30\nopen = true\n[wal]\nmode = "x"\n'
    masked = mask_toml(text)
    assert masked == text.replace("hunter2", "***")


def test_inline_tables_and_dotted_keys_about_access_are_masked() -> None:
    masked = mask_toml('auth = { user = "hunter2" }\n[s]\nsecurity.alice = "hunter2"\nsecurity.auth_mode = "none"\n')
    assert tomllib.loads(masked)["s"]["security"] == {"alice": "***", "auth_mode": "none"}
    assert "hunter2" not in masked


def test_a_figure_is_a_secret_only_where_the_key_says_so() -> None:
    values = tomllib.loads(mask_toml('password = 1234\nmax_tokens = 1234\njwt_ttl = 5\nbypass = "kept"\n'))
    assert values == {"password": "***", "max_tokens": 1234, "jwt_ttl": 5, "bypass": "kept"}
