"""
Options that several commands share, and what they come to.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from engram_diagnose.collectors.bundle_format import Bundle
    from engram_diagnose.collectors.gather import Request

Command = TypeVar("Command", bound=Callable[..., Any])

SETS: Final = ("floor", "target", "baseline")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Instant(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5; we run on 8.1
    """A time: ISO 8601 (UTC where no zone is given), seconds since the epoch, or so long ago, such as 15m."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        now = datetime.now(UTC).timestamp()
        try:
            found = now - _seconds(value) if value[-1:] in _UNITS else _epoch(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 2026-11-22T03:00:00Z, 1795316400 or 15m (ago)", param, ctx)
        if not 0 < found <= now + _AHEAD:
            self.fail(f"{value!r} is not in the past", param, ctx)
        return found


class Duration(click.ParamType):  # type: ignore[type-arg]  # see Instant
    """A length of time in seconds, such as 5, 90s, 30m or 1h."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            found = _seconds(value)
        except ValueError:
            found = 0.0
        if not 0 < found <= _LONGEST:
            self.fail(f"{value!r} is no length of time up to 30d; write 5, 90s, 30m or 1h", param, ctx)
        return found


_AHEAD: Final = 60.0
"""Seconds by which another clock may be ahead of ours."""
_LONGEST: Final = 30 * 86400.0
_FIGURE: Final = r"[0-9]{1,12}(\.[0-9]{1,9})?"


def _seconds(text: str) -> float:
    """`5`, `90s`, `1.5h` in seconds; raises `ValueError`."""
    number, factor = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    if not re.fullmatch(_FIGURE, number):
        raise ValueError(text)
    return float(number) * factor


def _epoch(text: str) -> float:
    """ISO 8601 or seconds since the epoch; raises `ValueError`."""
    if re.fullmatch(_FIGURE, text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in their order."""

    def apply(command: Command) -> Command:
        return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)

    return apply


def named_option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option that ENGRAM_DIAGNOSE_<NAME> sets as well."""
    longest = max((name for name in names if name.startswith("--")), key=len)
    variable = "ENGRAM_DIAGNOSE_" + longest.lstrip("-").split("/")[0].replace("-", "_").upper()
    return click.option(*names, envvar=variable, **settings)


rules_option = named_option(
    "--rules",
    "packs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A rule pack, file or folder, laid over the built-in rules; may be repeated.",
)

source_options = together(
    named_option("--prometheus", metavar="URL", help="Prometheus (or Thanos, Mimir, VictoriaMetrics) to ask."),
    named_option("--instance", default="", metavar="HOST:PORT", help="The server, as Prometheus calls it."),
    named_option(
        "--node-instance",
        default="",
        metavar="HOST:PORT",
        help="The node exporter of the server's host, as Prometheus calls it.",
    ),
    named_option(
        "--metrics", "metrics_url", default="", metavar="URL", help="A plain exposition endpoint, scraped twice."
    ),
    named_option(
        "--server",
        "server_url",
        default="",
        metavar="URL",
        help="The server's own address, for its health and JSON metrics.",
    ),
    named_option("--config", "config_file", default="", metavar="FILE", help="The server's configuration file."),
    named_option(
        "--data-dir",
        default="",
        metavar="DIR",
        help="Where the server keeps its data; decides which disk is looked at.",
    ),
    named_option("--pid", type=click.IntRange(min=1), help="The server's process on this host."),
    named_option(
        "--dialect",
        default="",
        metavar="NAME",
        help="Which release's names to expect, when they cannot be told: guide, engram-0.1.",
    ),
    named_option("--at", type=Instant(), help="Diagnose a past time: ISO 8601, seconds since the epoch, or 15m (ago)."),
    named_option(
        "--seconds", type=Duration(), default=0.0, show_default="10s", help="How long to watch this host's counters."
    ),
    named_option(
        "--before",
        type=Duration(),
        default=3600.0,
        show_default="1h",
        help="How far back the quiet time lies that changes are measured against, where no --onset is given.",
    ),
    named_option(
        "--onset", type=Instant(), help="When it began to be bad: the quiet time ends then. Written like --at."
    ),
    named_option(
        "--time-recalls",
        type=click.IntRange(0, 200),
        default=0,
        is_flag=False,
        flag_value=20,
        metavar="[N]",
        help="Send the server up to N recalls (20 when not said), two a second at most, and time them.",
    ),
    named_option("--local/--no-local", default=True, help="Whether to look at this host when the server runs on it."),
    named_option("--memory-constrained", is_flag=True, help="Say that the server must get by with little memory."),
)

login_options = together(
    named_option(
        "--bearer-token-file",
        type=click.Path(exists=True, dir_okay=False),
        help="File with the bearer token for Prometheus.",
    ),
    named_option(
        "--basic-auth-file",
        type=click.Path(exists=True, dir_okay=False),
        help="File with user:password for Prometheus.",
    ),
    named_option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="A further header for Prometheus, such as X-Scope-OrgID:tenant.",
    ),
    named_option("--ca-file", default="", type=click.Path(), help="Certificates to trust instead of the system's."),
    named_option("--client-cert", default="", type=click.Path(), help="Client certificate, PEM."),
    named_option("--client-key", default="", type=click.Path(), help="Its key, when that is in a file of its own."),
    named_option("--insecure", is_flag=True, help="Do not verify Prometheus's certificate."),
    named_option(
        "--timeout",
        type=Duration(),
        default=10.0,
        show_default="10s",
        help="Longest wait for one answer of Prometheus.",
    ),
    named_option(
        "--server-token-file", type=click.Path(exists=True, dir_okay=False), help="File with the server's API key."
    ),
)

redact_label_option = click.option(
    "--redact-label",
    "labels",
    multiple=True,
    metavar="PATTERN",
    help="Replace the values of labels of this name as well, such as 'tenant.*'; may be repeated.",
)

target_set_option = named_option(
    "--targets",
    "target_set",
    type=click.Choice(SETS),
    help="Which set of targets to hold the server to (the bundle's own, else target).",
)


collection_options = together(source_options, login_options, target_set_option, rules_option)
"""What a diagnosis is collected from, what it is held to, and by which rules."""


def bundle_or_collection(help: str, *, targets: bool = True) -> Callable[[Command], Command]:
    """
    `--bundle`, and everything that says what to collect instead; see `bundle_of` for what they come to.

    Without `targets` there is no `--targets`: for what holds the server to none.
    """
    bundle_option = click.option("--bundle", metavar="FILE", help=help)
    beside = collection_options if targets else together(source_options, login_options, rules_option)
    return together(bundle_option, beside)


def bundle_of(
    ctx: click.Context, bundle: str | None, collection: Mapping[str, Any], collect: "Callable[[Request], Bundle]"
) -> "Bundle":
    """
    The bundle that was named, or what `collect` gives for the collection that the options describe.

    Raises `click.UsageError` for options that mean nothing beside `--bundle`, and as `request_of` does.
    """
    from engram_diagnose.diagnosing import read_bundle

    if bundle:
        refuse_beside_bundle(ctx, {*collection, *_OF_COLLECTING} - {"target_set"})
        return read_bundle(bundle)
    return collect(request_of(dict(collection)))


_OF_COLLECTING: Final = ("save", "since")
"""What commands have beside the sources that a bundle has settled as well."""


def request_of(values: dict[str, Any]) -> "Request":
    """
    The collection request that the options describe.

    Raises `click.UsageError` for options that contradict each other or name what cannot be read.
    """
    from engram_diagnose.collectors.gather import Request

    statements = {"workload.memory_constrained": 1.0} if values.pop("memory_constrained") else {}
    prometheus = _prometheus(values)
    token_file = values.pop("server_token_file")
    at, onset = values.pop("at") or 0.0, values.pop("onset", None) or 0.0
    target_set = values.pop("target_set", None) or "target"
    if values["config_file"] and not Path(values["config_file"]).is_file():
        raise click.UsageError(f"--config: there is no file {values['config_file']}")
    if values["data_dir"] and not Path(values["data_dir"]).is_dir():
        raise click.UsageError(f"--data-dir: there is no folder {values['data_dir']}")
    _check_url("--server", values["server_url"])
    _check_url("--metrics", values["metrics_url"])
    return Request(
        prometheus=prometheus,
        server_token=secret(token_file) if token_file else "",
        at=at,
        onset=onset,
        statements=statements,
        target_set=target_set,
        **values,
    )


def _check_url(option: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if url and not usable:  # it may hold a secret, and is not shown
        raise click.UsageError(f"{option} is no URL such as http://127.0.0.1:7432")


def _prometheus(values: dict[str, Any]) -> Any:
    from engram_diagnose.collectors.prometheus.options import PrometheusOptions, address_of, problem_of

    url, token_file, login_file = (
        values.pop("prometheus"),
        values.pop("bearer_token_file"),
        values.pop("basic_auth_file"),
    )
    headers = _headers(values.pop("headers"))
    tls = {key: values.pop(key) for key in ("ca_file", "client_cert", "client_key")}
    verify, timeout = not values.pop("insecure"), values.pop("timeout")
    if not url:
        return None
    if token_file and login_file:
        raise click.UsageError("--bearer-token-file and --basic-auth-file exclude each other")
    user, _, password = secret(login_file).partition(":") if login_file else ("", "", "")
    options = PrometheusOptions(
        url, secret(token_file) if token_file else "", user, password, headers, verify, timeout=timeout, **tls
    )
    try:
        address_of(options)
    except ValueError as error:
        raise click.UsageError(f"--prometheus: {error}") from None
    if problem := problem_of(options):
        raise click.UsageError(problem)
    return options


def _headers(pairs: Iterable[str]) -> dict[str, str]:
    found = {}
    for number, pair in enumerate(pairs, 1):
        name, colon, value = pair.partition(":")
        if not colon or not name.strip():  # the value may be a secret, and is not shown
            raise click.UsageError(f"--header takes NAME:VALUE; number {number} has no colon")
        found[name.strip()] = value.strip()
    return found


def secret(path: str) -> str:
    """What a file holds, without the blanks around it; raises `click.UsageError` when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {path}: {error}") from None


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    click.echo(text, err=True)


def progress(text: str) -> None:
    """A line of progress, where somebody watches."""
    if sys.stderr.isatty():
        say(f"… {text}")


def refuse_beside_bundle(ctx: click.Context, names: Iterable[str]) -> None:
    """
    Say which options of the command line mean nothing beside `--bundle`: what is collected has been collected.

    Raises `click.UsageError`.
    """
    given = [parameter.opts[0] for parameter in ctx.command.params if parameter.name in set(names)
             and ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
    if given:
        raise click.UsageError(f"{', '.join(given)} has no effect beside --bundle; leave one of them out")
