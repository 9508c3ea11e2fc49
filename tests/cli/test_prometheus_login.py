"""How the command line's login options become a request: secrets come out of files, and stay out of messages."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from engram_diagnose.cli.options import login_options, request_of, source_options, target_set_option
from engram_diagnose.collectors.gather import Request

SECRET = "s3cr3t-t0ken"


def request(*arguments: str) -> Request:
    made: list[Request] = []

    @click.command()
    @source_options
    @login_options
    @target_set_option
    def command(**values: Any) -> None:
        made.append(request_of(values))

    result = CliRunner().invoke(command, ["--prometheus", "https://mimir/prometheus", *arguments], env={})
    if result.exit_code:
        assert SECRET not in result.output
        raise click.UsageError(result.output)
    return made[0]


def file(folder: Path, text: str) -> str:
    (folder / "secret").write_text(text)
    return str(folder / "secret")


def test_a_password_is_read_from_its_file(tmp_path: Path) -> None:
    options = request("--basic-auth-file", file(tmp_path, f"ann:{SECRET}:more\n")).prometheus
    assert options is not None
    assert (options.user, options.password) == ("ann", f"{SECRET}:more")
    assert SECRET not in repr(options)


def test_a_token_tenant_and_certificates_arrive(tmp_path: Path) -> None:
    options = request("--bearer-token-file", file(tmp_path, SECRET + "\n"), "--header", "X-Scope-OrgID: team-a",
                      "--ca-file", "/ca.pem", "--client-cert", "/c.pem", "--client-key", "/c.key",
                      ).prometheus  # fmt: skip
    assert options is not None
    assert options.bearer_token == SECRET
    assert options.headers == {"X-Scope-OrgID": "team-a"}
    assert (options.ca_file, options.client_cert, options.client_key) == ("/ca.pem", "/c.pem", "/c.key")


@pytest.mark.parametrize("arguments", [("--header", SECRET), ("--header", f"X-Key:{SECRET}\x01")])
def test_what_no_header_can_be_is_refused_unseen(arguments: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError):
        request(*arguments)


def test_a_token_and_a_password_exclude_each_other(tmp_path: Path) -> None:
    path = file(tmp_path, SECRET)
    with pytest.raises(click.UsageError, match="exclude each other"):
        request("--bearer-token-file", path, "--basic-auth-file", path)


@pytest.mark.parametrize(("arguments", "count"), [((), 0), (("--time-recalls",), 20), (("--time-recalls", "5"), 5),
                                                  (("--time-recalls", "--no-local"), 20)])  # fmt: skip
def test_no_recall_is_sent_unless_it_is_asked_for(arguments: tuple[str, ...], count: int) -> None:
    assert request(*arguments).time_recalls == count


def test_more_recalls_than_a_look_are_refused() -> None:
    with pytest.raises(click.UsageError, match="0<=x<=200"):
        request("--time-recalls", "5000")
