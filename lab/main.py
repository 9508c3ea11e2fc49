"""
`python -m engram_diagnose.lab`: the lab's process, from its settings to its end.
"""

import argparse
import asyncio
import fcntl
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from engram_diagnose.lab.api import Api
from engram_diagnose.lab.asking import Runnable
from engram_diagnose.lab.host import read_host
from engram_diagnose.lab.metrics import Exposition
from engram_diagnose.lab.preload import preload
from engram_diagnose.lab.server import Front
from engram_diagnose.lab.settings import Settings, SettingsError, address, fitting, parse_settings, written

STOPPED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
_NAME: Final = "engram-lab"
_GARBAGE: Final = 50_000
"""Objects between searches for garbage: a request leaves none behind that needs to be searched for."""


class StartError(ValueError):
    """The lab cannot start; says why, and what to do."""


class _Stopped(BaseException):  # a signal came before there was a loop that could take it
    pass


@dataclass(frozen=True, slots=True)
class Options:
    """The command line; `port` goes before the file's, and None leaves it."""

    data_dir: Path
    config: Path | None = None
    host: str | None = None
    port: int | None = None
    preload: int = 0
    ready_file: Path | None = None
    stop_with_stdin: bool = False


def main(
    arguments: Sequence[str] | None = None, *, make_engine: Callable[[Settings, Path], Runnable] | None = None
) -> int:
    """Run a lab until it is told to stop; gives the exit code: 0 stopped, 2 cannot start with what it was given."""
    options = parse_options(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stopped)
    try:
        return _run(options, make_engine or _compiled_engine)
    except StartError as error:
        say(str(error))
        return USAGE
    except _Stopped:
        say("stopped before it listened")
        return STOPPED


def parse_options(arguments: Sequence[str] | None) -> Options:
    """The command line's options; ends the program with 2 where they cannot be used."""
    parser = argparse.ArgumentParser(prog="engram-diagnose lab", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="where its data are kept")
    parser.add_argument("--config", type=Path, metavar="FILE", help="its settings (DIR/engram.toml, made when missing)")
    parser.add_argument("--host", metavar="ADDRESS", help="where to listen (as configured, else 127.0.0.1)")
    parser.add_argument("--port", type=_port, metavar="N", help="where to listen (as configured); 0 takes a free one")
    parser.add_argument("--preload", type=_count, default=0, metavar="N", help="memories to begin with")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="JSON written there once it listens")
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input ends")
    return Options(**vars(parser.parse_args(arguments)))


def say(text: str) -> None:
    """A line for whoever runs the lab."""
    print(f"engram-diagnose lab: {text}", file=sys.stderr, flush=True)


def _start(engine: Runnable, folder: Path) -> None:
    from engram_diagnose.lab.snapshot import SnapshotError  # an engine has imported it by now

    try:
        engine.start()
    except (OSError, SnapshotError) as error:
        raise StartError(f"cannot start from what is in {folder}: {error}") from None


def _run(options: Options, make_engine: Callable[[Settings, Path], Runnable]) -> int:
    _name_the_process()
    folder = _data_folder(options.data_dir)
    with _locked(folder):
        settings, path = _settings(options, folder)
        listener = _bound(*_address(options, settings))
        with listener:
            if options.preload:
                _preload(folder, options.preload, settings=settings, make_engine=make_engine)
            engine = make_engine(settings, folder)
            try:
                _start(engine, folder)
                _stay(engine, listener, options=options, settings=settings, config=path)
            finally:
                _deaf_to_stops()
                engine.stop()
    say("stopped")
    return STOPPED


def _preload(
    folder: Path, count: int, *, settings: Settings, make_engine: Callable[[Settings, Path], Runnable]
) -> None:
    try:
        preload(folder, count=count, settings=settings, make_engine=make_engine, say=say)
    except (ValueError, OSError) as error:
        raise StartError(f"cannot preload {count} memories: {error}") from None


def _stay(engine: Runnable, listener: socket.socket, *, options: Options, settings: Settings, config: Path) -> None:
    exposition = Exposition(engine, settings, without=os.environ.get("ENGRAM_LAB_WITHOUT_METRICS", ""))
    api = Api(engine, scrape=exposition.text)
    exposition.counts = api.counts
    front = Front(api)
    exposition.connections = lambda: len(front.connections)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    uvloop.run(_serve(front, listener, options=options, config=config))


async def _serve(front: Front, listener: socket.socket, *, options: Options, config: Path) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        if told.is_set() and number == signal.SIGINT:  # a person who does not want to wait
            say("told again: ending at once; the log has what was answered")
            os._exit(FAILED)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    if options.stop_with_stdin:
        loop.add_reader(0, _until_end, loop, told)
    host, port = await front.start(listener)
    _announce(host, port, options=options, config=config)
    await told.wait()
    say("stopping: answering what is in flight")
    if not await front.stop():
        say("some operations did not end in time; their clients were cut off")


def _until_end(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """Standard input has something: when that is its end, whoever started the lab is gone."""
    if not os.read(0, 4096):
        loop.remove_reader(0)
        told.set()


def _announce(host: str, port: int, *, options: Options, config: Path) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    print(
        f"A lab, not a product: it exists to have faults planted in it.\n"
        f"  listening on {url} (process {os.getpid()})\n"
        f"  settings     {config}\n"
        f"  data         {options.data_dir}\n"
        f"Look at it:    engram-diagnose run --metrics {url}/metrics --config {config} --data-dir {options.data_dir}\n"
        f"Stop it with Ctrl-C.",
        flush=True,
    )
    if options.ready_file is not None:
        beside = options.ready_file.with_name(options.ready_file.name + ".new")
        beside.write_text(json.dumps({"url": url, "port": port, "pid": os.getpid()}))
        beside.replace(options.ready_file)


def _settings(options: Options, folder: Path) -> tuple[Settings, Path]:
    """The settings and their file; where none was named and none is there, one that fits this host is written."""
    host, path = read_host(folder), options.config or folder / "engram.toml"
    try:
        if options.config is None and not path.exists():
            path.write_text(
                f"# What fits this host and a balanced workload, by the guide's wizard.\n\n{written(fitting(host))}"
            )
        settings, warnings = parse_settings(path.read_text(), where=str(path), host=host)
    except SettingsError as error:
        raise StartError(f"the settings cannot be used:\n{error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read the settings {path}: {getattr(error, 'strerror', None) or error}") from None
    for warning in warnings:
        say(warning)
    return settings, path


def _address(options: Options, settings: Settings) -> tuple[str, int]:
    host, port = address(settings)
    return options.host or host, port if options.port is None else options.port


def _bound(host: str, port: int) -> socket.socket:
    """A socket at that address, before any of the long work, so that a taken one is told at once (`StartError`)."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port, 0 takes a free one"
        ) from None
    return listener


def _data_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make {folder}: {error.strerror}; name another with --data-dir") from None
    return folder


def _locked(folder: Path) -> Any:
    """The folder for this process alone, until the file that is given is closed."""
    try:
        lock = (folder / "lock").open("ab")
    except OSError as error:
        raise StartError(f"cannot write to {folder}: {error.strerror}; name another with --data-dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StartError(f"another lab uses {folder}; stop it, or name another with --data-dir") from None
    return lock


def _compiled_engine(settings: Settings, folder: Path) -> Runnable:
    from engram_diagnose.lab.engine import Engine as CompiledEngine  # numba: late, so that mistakes are told at once

    engine: Runnable = CompiledEngine(settings, folder)
    return engine


def _name_the_process() -> None:
    try:
        Path("/proc/self/comm").write_text(_NAME)
    except OSError:
        return


def _raise_stopped(number: int, frame: object) -> None:
    raise _Stopped


def _deaf_to_stops() -> None:
    """What was answered is being written; a second signal would only lose time."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 8:
        return int(text)
    raise argparse.ArgumentTypeError("a whole number")
