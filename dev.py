#!/usr/bin/env python3
"""
Sets up this checkout and runs it. The standard library is all it needs.

    python3 dev.py demo [ARG ...]   the main job, on a server with a planted fault
    python3 dev.py test [ARG ...]   every test; with arguments, pytest with just those
    python3 dev.py check            lint, types, import contracts, rules, docs, then every test

Everything lands in .venv/ beside this file, which belongs to this script: it is made again when it
is broken, was moved, or belongs to another Python. Only `test` and `check` put something into the
system, and only where root may be had without a password: a C compiler and Python's headers where
they are missing, and two template files that Debian's Alertmanager does not start without.
"""

import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 -- whoever runs it with an older one is told so
    sys.exit(
        f"dev.py: this is Python {sys.version.split()[0]}; engram-diagnose needs 3.11 or newer. "
        "Run this script with a newer one, for example: python3.12 dev.py demo"
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
UNFINISHED = VENV / "install.unfinished"

RUN, TEST = "run", "test"
WHAT_PIP_INSTALLS = {
    RUN: ["--editable", "."],
    TEST: ["--editable", ".", "--group", "dev"],
}
READY = {RUN: [RUN], TEST: [RUN, TEST]}

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "mypy dev.py": ["mypy", "--strict", "dev.py"],
    "import contracts": ["lint-imports"],
    "rules check": ["engram-diagnose", "rules", "check"],
    "rules test": ["engram-diagnose", "rules", "test"],
    "generated pages": ["engram-diagnose", "rules", "docs", "--check", "docs/reference"],
}
# Debian's packages, and the programs in them that tests marked `server` start.
SERVERS = {
    "prometheus": ["prometheus", "promtool"],
    "prometheus-alertmanager": ["prometheus-alertmanager", "amtool"],
}
TEMPLATES_OF = {"prometheus-alertmanager": ["default.tmpl", "email.tmpl"]}
TEMPLATES = Path("/usr/share/prometheus/alertmanager")
# Tests that share a server run in one worker (tests/conftest.py).
EVERY_TEST = ["-n", "auto", "--dist", "loadgroup"]


class SetupError(Exception):
    """Something could not be set up; the text says what, where and what to do next."""


# --- the commands ---------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 for bad usage, 3 when setting up failed."""
    commands = {"demo": demo, "test": test, "check": check}
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if name in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0
    if name not in commands:
        print(f"{__doc__.strip()}\n\ndev.py: no command {name!r}" if name else __doc__.strip())
        return 2
    try:
        return commands[name](rest)
    except SetupError as error:
        say(str(error))
        return 3
    except KeyboardInterrupt:
        say("interrupted; run the same command again")
        return 130


def demo(arguments: Sequence[str]) -> int:
    set_up(RUN)
    return run_tool(["engram-diagnose", "demo", *arguments])


def test(arguments: Sequence[str]) -> int:
    set_up(TEST)
    for reason in (add_durable(), add_servers()):
        if reason:
            say(reason)
    return run_tool(["pytest", *(arguments or EVERY_TEST)])


def check(arguments: Sequence[str]) -> int:
    """Run every check, also after one failed; pytest comes last, and its summary closes the run."""
    if arguments:
        raise SetupError(f"check takes no arguments, and got {' '.join(arguments)}")
    set_up(TEST)
    failed = [name for name, command in CHECKS.items() if timed(name, command) != 0]
    if failed:
        say(f"failed so far: {', '.join(failed)}; the tests follow")
    tested = test([])
    if failed:
        say(f"failed: {', '.join([*failed, 'tests'] if tested else failed)}")
    return tested or bool(failed)


def timed(name: str, command: Sequence[str]) -> int:
    start = time.monotonic()
    say(f"{name}: {' '.join(command)}")
    code = run_tool(command)
    say(f"{name}: {'ok' if code == 0 else f'failed with exit code {code}'}, {since(start)}")
    return code


# --- the virtual environment ----------------------------------------------------------------------


def set_up(level: str) -> None:
    """Make .venv hold what `level` needs; a no-op while nothing it depends on has changed."""
    if PYTHON.exists() and stamp(level).exists() and stamp(level).read_text() == fingerprint():
        return
    start = time.monotonic()
    if UNFINISHED.exists() or not is_usable():
        create_venv()
    UNFINISHED.touch()
    say(f"installing into {VENV} (about a minute, once; log: {LOG.relative_to(ROOT)})")
    pip("install", "--upgrade", "pip>=25.1")  # the first that knows --group
    pip("install", *WHAT_PIP_INSTALLS[level])
    for ready in READY[level]:
        stamp(ready).write_text(fingerprint())
    UNFINISHED.unlink()
    say(f"installed in {since(start)}")


def stamp(level: str) -> Path:
    return VENV / f"install.{level}"


def fingerprint() -> str:
    """What an installation depends on: the requirements, the version, the Python, the place."""
    digest = hashlib.sha256()
    for part in ("pyproject.toml", "src/engram_diagnose/__init__.py"):
        digest.update((ROOT / part).read_bytes())
    digest.update(repr((sys.version_info[:2], sys.base_prefix, str(ROOT))).encode())
    return digest.hexdigest()


def is_usable() -> bool:
    """Whether .venv was made at this place, by this Python, and has a pip that starts."""
    asked = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    configuration = VENV / "pyvenv.cfg"
    made_here = configuration.exists() and str(VENV) in configuration.read_text()
    return made_here and PYTHON.exists() and quiet([str(PYTHON), "-c", asked])


def create_venv() -> None:
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    venv = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if has_module("ensurepip"):
        logged(venv)
        return
    logged([*venv, "--without-pip"])
    with tempfile.TemporaryDirectory() as scratch:
        logged([*pip_from_outside(Path(scratch)), "--python", str(PYTHON), "install", "pip"])


def pip_from_outside(scratch: Path) -> list[str]:
    """A pip to start with where ensurepip is missing, as it is from Debian's bare python3."""
    if has_module("pip"):
        return [sys.executable, "-m", "pip"]
    try:
        wheels = unpack("python3-pip-whl", scratch) / "usr" / "share" / "python-wheels"
        return [sys.executable, str(next(wheels.glob("pip-*.whl")) / "pip")]
    except (SetupError, StopIteration) as error:
        raise SetupError(
            f"{sys.executable} has neither ensurepip nor pip, which .venv needs ({error}). "
            f"On Debian and Ubuntu: sudo apt-get install {debian_python('venv')}; "
            "then run the same command again"
        ) from error


def pip(*arguments: str) -> None:
    logged([str(PYTHON), "-m", "pip", *arguments])


def logged(command: Sequence[str]) -> None:
    """Run a step of the set-up into the log; raise with its last lines when it fails."""
    code, text = captured(command)
    if code != 0:
        last = "\n".join(f"    {line}" for line in text.splitlines()[-15:])
        raise SetupError(
            f"this failed with exit code {code}:\n  {' '.join(command)}\n{last}\n"
            "mend what the last lines name (no network? a proxy or an index of your own goes into "
            "HTTPS_PROXY or PIP_INDEX_URL), then run the same command again"
        )


# --- what the tests need beyond Python packages ---------------------------------------------------


def add_durable() -> str:
    """Install durable-rules, which compiles; return which tests are skipped and why, or nothing."""
    skipped = "tests marked `durable` are skipped: "
    if sys.version_info >= (3, 13):
        return f"{skipped}durable-rules does not import on Python 3.13; use 3.11 or 3.12"
    if imports("durable_rules_engine"):
        return ""
    packages = ["gcc", "libc6-dev", debian_python("dev")]
    if lacking_to_compile():
        apt_install(*packages)
    lacking = lacking_to_compile()
    if lacking:
        return (
            f"{skipped}durable-rules compiles when installed, and {lacking} is missing. "
            f"On Debian and Ubuntu: sudo apt-get install {' '.join(packages)}"
        )
    import tomllib  # not above: an older Python has to get as far as the message there

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    try:
        pip("install", "--force-reinstall", *project["optional-dependencies"]["durable"])
    except SetupError as error:
        return f"{skipped}durable-rules could not be installed. {error}"
    return "" if imports("durable_rules_engine") else f"{skipped}durable-rules does not import"


def lacking_to_compile() -> str:
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        return f"a C compiler ({compiler})"
    headers = Path(sysconfig.get_path("include"))
    return "" if (headers / "Python.h").exists() else f"Python's headers ({headers}/Python.h)"


def add_servers() -> str:
    """
    Provide Prometheus and Alertmanager; return which tests are skipped and why, or nothing.

    Debian's packages would start daemons on their ports, now and at every boot, so the programs
    alone are taken out of them.
    """
    for package, programs in SERVERS.items():
        if not lacking_of(package):
            continue
        try:
            with tempfile.TemporaryDirectory() as scratch:
                extract(package, programs, Path(scratch))
        except (SetupError, OSError) as error:
            return f"tests marked `server` are skipped: {error}"
        if lacking_of(package):
            return (
                f"tests marked `server` are skipped: {lacking_of(package)} is missing. "
                f"On Debian and Ubuntu: sudo apt-get install {package}"
            )
    return ""


def lacking_of(package: str) -> str:
    """The first thing that is missing for the programs of a package to run; empty when nothing is."""
    for program in SERVERS[package]:
        if not shutil.which(program, path=environment()["PATH"]):
            return program
    templates = [TEMPLATES / name for name in TEMPLATES_OF.get(package, [])]
    return next((str(path) for path in templates if not path.exists()), "")


def extract(package: str, programs: Sequence[str], scratch: Path) -> None:
    folder = unpack(package, scratch)
    for program in programs:
        part = VENV / "bin" / f"{program}.part"  # so that it is whole or not there, also after Ctrl-C
        shutil.copy2(folder / "usr" / "bin" / program, part)
        part.rename(part.with_suffix(""))
    for name in TEMPLATES_OF.get(package, []):
        source = folder / "usr" / "share" / "prometheus" / "alertmanager" / name
        as_root("install", "-D", "--mode=644", str(source), str(TEMPLATES / name))


# --- Debian's packages ----------------------------------------------------------------------------


def unpack(package: str, scratch: Path) -> Path:
    """Download a Debian package and unpack it below `scratch`; the system stays as it is."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError("this system has no apt-get to fetch Debian's package with")
    say(f"fetching Debian's {package}")
    if not apt_download(package, scratch):
        raise SetupError(f"apt-get could not fetch Debian's {package}; log: {LOG}")
    folder = scratch / "unpacked"
    logged(["dpkg-deb", "--extract", str(next(scratch.glob("*.deb"))), str(folder)])
    return folder


def apt_download(package: str, folder: Path) -> bool:
    """Download a .deb with the system's package lists, else with fresh ones kept in `folder`."""
    lists, cache = folder / "lists", folder / "cache"
    private = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    private += ["-o", "APT::Sandbox::User=root"]  # _apt may not enter `folder`
    if quiet(["apt-get", "download", package], folder=folder):
        return True
    for made in (lists / "partial", cache / "archives" / "partial"):
        made.mkdir(parents=True)
    return all(quiet(["apt-get", *private, *verb], folder=folder) for verb in (["update"], ["download", package]))


def apt_install(*packages: str) -> bool:
    """Install Debian packages where that needs no password; whether it worked."""
    if not shutil.which("apt-get"):
        return False
    say(f"installing Debian's {', '.join(packages)}")
    # RUNLEVEL=1: a package with a daemon does not start it.
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]
    install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    return as_root(*install) or (as_root(*apt, "update") and as_root(*install))


def as_root(*command: str) -> bool:
    """Whether a program succeeds as root, which it is tried as only where that needs no password."""
    if os.geteuid() == 0:
        return quiet(command)
    return bool(shutil.which("sudo")) and quiet(["sudo", "-n", *command])


def debian_python(part: str) -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}-{part}"


# --- running things -------------------------------------------------------------------------------


def run_tool(command: Sequence[str]) -> int:
    """Run a program of the virtual environment with this terminal, and return its exit code."""
    program = VENV / "bin" / command[0]
    if not program.exists():
        raise SetupError(
            f"{program} is missing although the installation finished; delete {VENV} and run the same command again"
        )
    sys.stdout.flush()
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, env=environment(), check=False).returncode


def environment() -> dict[str, str]:
    """
    The environment with the programs of .venv first and nothing that would import from elsewhere.

    In CI a test that lacks what it needs has to fail, since a skip would be overlooked there.
    """
    unwanted = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    wanted = {name: value for name, value in os.environ.items() if name not in unwanted}
    wanted["PATH"] = os.pathsep.join([str(VENV / "bin"), wanted.get("PATH", os.defpath)])
    if wanted.get("CI", "").lower() in ("1", "true"):
        wanted.setdefault("ENGRAM_DIAGNOSE_REQUIRE_DURABLE", "1")
        wanted.setdefault("ENGRAM_DIAGNOSE_REQUIRE_PROMETHEUS", "1")
    return wanted


def quiet(command: Sequence[str], *, folder: Path = ROOT) -> bool:
    """Whether a program succeeds."""
    return captured(command, folder=folder)[0] == 0


def captured(command: Sequence[str], *, folder: Path = ROOT) -> tuple[int, str]:
    """The exit code and the output of a program, which go into the log too once there is one."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    if VENV.is_dir():
        with LOG.open("a", errors="replace") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}")
    return done.returncode, done.stdout


def imports(module: str) -> bool:
    return quiet([str(PYTHON), "-c", f"import {module}"])


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def since(start: float) -> str:
    return f"{time.monotonic() - start:.0f} s"


def say(text: str) -> None:
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
