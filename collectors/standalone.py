"""
`collect.pyz`: collecting on a host where nothing may be installed, with the standard library of Python 3.8.

The file is a text of this module and what it imports (`engram_diagnose.script` makes it). It asks the server and its
host as `engram-diagnose collect` does, and writes the same bundle; Prometheus it does not ask.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from dataclasses import dataclass

from engram_diagnose.collectors.bundle import content_digest, encode_bundle, redact, write_bundle
from engram_diagnose.collectors.bundle_format import BundleError
from engram_diagnose.collectors.bundle_size import fitted
from engram_diagnose.collectors.capture.address import AddressError, check_address
from engram_diagnose.collectors.capture.ending import end_like_interrupted
from engram_diagnose.collectors.capture.interface import interfaces_of
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.site import NAMED, Bounds, Order, Site
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget
from engram_diagnose.collectors.redaction import LabelPatternError
from engram_diagnose.collectors.site_bundle import Heading, bundle_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NoReturn

    from engram_diagnose.collectors.bundle_format import Bundle
    from engram_diagnose.collectors.capture.machine import HostIdentity

DONE, INTERRUPTED, USAGE, NOT_COLLECTED = range(4)
"""Exit codes, those of `engram-diagnose collect`."""

NAME = "collect.pyz"
_TOKEN_BYTES = 4096
_LONGEST = 3600.0
_OF_THE_SERVER = frozenset({"exposition", "http", "process"})
_UNSAID = frozenset({"NOT_COLLECTED", "WINDOW_NOT_COLLECTED"})
_ABOUT = """\
Collects what this host and the Engram server on it say of themselves into one bundle, to be diagnosed elsewhere with
`engram-diagnose run --bundle FILE`. Reads /proc and /sys, asks the server on its port, changes nothing.
"""
_EXAMPLES = """\
  ssh HOST python3 - --seconds 10 < collect.pyz > host.bundle
  python3 collect.pyz --output host.bundle

Exit: 0 done, 1 interrupted, 2 wrong usage or nowhere to write, 3 nothing of the server could be collected.
"""


@dataclass(frozen=True)
class Given:
    """
    What the file was made with: the release as `tool`, `rules` as the bundle's heading has them, `dialects` as
    `interfaces_of` takes them, and the limits of collecting and tables of events of the rule files in force.
    """

    tool: str
    rules: Mapping[str, Mapping[str, Any]]
    dialects: Mapping[str, Mapping[str, Any]]
    limits: Mapping[str, float]
    events: Mapping[str, object]


class _WrongUsageError(ValueError):
    """What cannot be done, and what to give instead."""


def main(arguments: Sequence[str], given: Given) -> int:
    """
    Collect, write the bundle, and give the exit code.

    Only the bundle goes to stdout. No failure is a traceback, and none leaves a file or a program behind.
    """
    end_like_interrupted()
    try:
        return _main(arguments, given)
    except (_WrongUsageError, AddressError, LabelPatternError, BundleError) as error:
        say(f"{NAME}: {error}")
        return USAGE
    except KeyboardInterrupt:
        say(f"{NAME}: interrupted; nothing was written")
        return INTERRUPTED
    except OSError as error:
        say(f"{NAME}: cannot write the bundle: {error.strerror or error}")
        return USAGE
    finally:
        _let_go_of_stdout()


def _main(arguments: Sequence[str], given: Given) -> int:
    options = _parser(given).parse_args(list(arguments))
    _check(options, given)
    identity = host_identity()
    bundle = collected(options, given, Machine(host=identity.id), identity, now=time.time())
    bundle = fitted(bundle, most=given.limits["bundle_bytes"])
    if options.redact or options.redact_label:
        bundle = redact(bundle, labels=options.redact_label)
    for line in _unanswered(bundle):
        say(line)
    told = bool(_OF_THE_SERVER & {answer.collector for answer in bundle.answers if answer.answered})
    if options.output and not told and os.path.isfile(options.output):
        say(f"{NAME}: nothing of the server was collected, so {options.output} is kept as it was")
        return NOT_COLLECTED
    _write(bundle, options.output)
    return DONE if told else NOT_COLLECTED


def collected(
    options: argparse.Namespace, given: Given, machine: Machine, identity: HostIdentity, *, now: float
) -> Bundle:
    """The bundle of what `machine`, the host `identity`, and the server on it say."""
    order = Order(
        instance=options.instance,
        metrics_url=options.metrics,
        server_url=options.server,
        server_token=_secret(options.server_token_file) if options.server_token_file else "",
        config_file=options.config,
        data_dir=options.data_dir,
        pid=options.pid,
        port=options.port,
        seconds=_watched(options, given) if options.seconds is None else options.seconds,
        profile=options.profile,
    )
    site = Site(order, machine, at=now, bounds=Bounds(given.limits, given.events), progress=_progress)
    for line in _looked_at(site.target):
        say(line)
    interfaces = interfaces_of(given.dialects)
    name, told = (options.dialect, NAMED) if options.dialect else site.dialect(interfaces)
    answers = site.answers(interfaces[name])
    heading = Heading(now, given.tool, given.rules, dialect_told=told)
    return bundle_of(site, identity, answers, dialect=name, heading=heading)


def _watched(options: argparse.Namespace, given: Given) -> float:
    """How long, where nobody says."""
    return given.limits["profile_watch" if options.profile else "watch"]


# Options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on stderr, in our form."""

    def error(self, message: str) -> NoReturn:
        raise _WrongUsageError(f"{message}; --help lists what there is")


def _parser(given: Given) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=NAME, description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", "-o", default="", metavar="FILE", help="write the bundle there; stdout otherwise")
    watch, longer = given.limits["watch"], given.limits["profile_watch"]
    add("--seconds", type=_seconds, metavar="DURATION",
        help=f"how long to watch, such as 10 or 90s ({watch:g}; with --profile {longer:g})")  # fmt: skip
    add("--profile", action="store_true", help="look at everything that needs perf as well; under a minute")
    add("--instance", default="", metavar="HOST:PORT", help="the server, as Prometheus calls it")
    add("--server", default="", metavar="URL", help="the server's own address")
    add("--server-token-file", default="", metavar="FILE", help="file with the server's API key")
    add("--metrics", default="", metavar="URL", help="a plain exposition endpoint, scraped twice")
    add("--pid", type=_positive, metavar="N", help="the server's process")
    add("--port", type=_port, metavar="N", help="the port on which the server listens")
    add("--data-dir", default="", metavar="DIR", help="where the server keeps its data")
    add("--config", default="", metavar="FILE", help="the server's configuration file")
    add("--dialect", default="", metavar="NAME", help=f"one of {', '.join(sorted(given.dialects))}")
    add("--redact", action="store_true", help="replace names of hosts, spaces and paths by stable pseudonyms")
    add("--redact-label", action="append", default=[], metavar="PATTERN",
        help="and the values of labels whose name matches, such as 'tenant.*'; may be repeated")  # fmt: skip
    add("--version", action="version", version=f"{NAME} of {given.tool}")
    return parser


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    number, factor = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not number.replace(".", "", 1).isdigit() or not 0 < float(number) * factor <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time up to 1h; write 10, 90s or 2m")
    return float(number) * factor


def _positive(text: str) -> int:
    if not text.isdigit() or len(text) > 10 or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no process id")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or len(text) > 5 or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _check(options: argparse.Namespace, given: Given) -> None:
    """Before anything is looked at; raises `_WrongUsageError` or `AddressError`."""
    check_address("--metrics", options.metrics)
    check_address("--server", options.server)
    if options.dialect and options.dialect not in given.dialects:
        known = ", ".join(sorted(given.dialects))
        raise _WrongUsageError(f"--dialect: there is no dialect {options.dialect!r}; known: {known}")
    if options.config and not os.path.isfile(options.config):
        raise _WrongUsageError(f"--config: there is no file {options.config}")
    if options.data_dir and not os.path.isdir(options.data_dir):
        raise _WrongUsageError(f"--data-dir: there is no folder {options.data_dir}")
    if options.output and options.config and os.path.realpath(options.output) == os.path.realpath(options.config):
        raise _WrongUsageError("--output names the file of --config, which would be lost; name another")
    if options.output:
        return
    if sys.stdout is None:
        raise _WrongUsageError("stdout is closed; give --output FILE, or redirect stdout")
    if sys.stdout.isatty():
        raise _WrongUsageError("a bundle is compressed data: give --output FILE, or redirect stdout")


def _secret(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(_TOKEN_BYTES).strip()
    except (OSError, ValueError) as error:
        raise _WrongUsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


# Talk


def say(text: str) -> None:
    """Talk goes to stderr, whatever its encoding; where there is none, nobody listens."""
    if sys.stderr is None:
        return
    encoding = sys.stderr.encoding or "ascii"
    with contextlib.suppress(OSError, ValueError):
        print(_printable(text).encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """Without what moves a terminal's cursor: a process may call itself anything."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _progress(text: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        say(f"... {text}")


def _looked_at(target: LocalTarget | NoTarget) -> Iterable[str]:
    if isinstance(target, LocalTarget):
        return [f"looking at process {target.pid} ({target.name}), {target.how}"]
    return [f"this host: {target.detail}"]


def _unanswered(bundle: Bundle) -> Iterable[str]:
    """A line for each source that was asked and gave nothing, with the reason."""
    asked = {"exposition": "the metrics", "http": "the server", "config": "the configuration"}
    lost = [one for one in bundle.answers if not one.answered and one.reason not in _UNSAID]
    lines = [
        f"{asked[one.collector]} ({one.name}): {one.detail or one.reason}" for one in lost if one.collector in asked
    ]
    lines += [f"this host: {one.detail}" for one in lost if one.reason == "TARGET_GONE"]
    return dict.fromkeys(lines)


# Writing, and ending


def _write(bundle: Bundle, output: str) -> None:
    if output:
        write_bundle(output, bundle)
        say(f"bundle written to {output}; diagnose it with: engram-diagnose run --bundle {output}")
    else:
        sys.stdout.buffer.write(encode_bundle(bundle))
        sys.stdout.buffer.flush()
    say(f"sha256 of what it says: {content_digest(bundle)}")


def _let_go_of_stdout() -> None:
    """The interpreter flushes once more as it ends, and would complain again of a full disk or a closed pipe."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 -- closed with the process
