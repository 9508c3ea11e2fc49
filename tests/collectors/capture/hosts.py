"""Small hosts written as files, and the way from their /proc and /sys to facts."""

from collections.abc import Callable, Mapping
from pathlib import Path

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.parse.local import facts_of_local
from engram_diagnose.engine.facts.fact import Fact, Reason
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.language.limits_reader import read_limits

RULES = Path(__file__).parents[3] / "rules"
TWO_NODES = Path(__file__).parents[2] / "data" / "two-node-host.txt"
LIMITS = read_limits({"limits": (RULES / "catalogue/collection.yaml").read_text()}, "collection")
SERVER = LocalTarget(42, 1000, 7432, "engram", "listens on port 7432")

Facts = Mapping[tuple[str, Scope], Fact]


def stat(tid: int, *, state: str = "S", user: int = 0, processor: int = 0, start: int = 1000) -> str:
    """`/proc/PID/stat` of a thread that ran for so many ticks."""
    tail = f"0 0 20 0 3 0 {start} 219525120 51406 18446744073709551615" + " 0" * 12 + f" 17 {processor} 0 0\n"
    return f"{tid} (engram) {state} 1 42 42 0 -1 4194304 10 0 2 0 {user} 0 {tail}"


def thread(tid: int, *, run: int = 0, wait: int = 0, state: str = "S", wchan: str = "futex_wait_queue",
           voluntary: int = 0) -> dict[str, str]:  # fmt: skip
    """The files of one thread; milliseconds on and waiting for a CPU."""
    lead = f"proc/42/task/{tid}"
    return {
        f"{lead}/stat": stat(tid, state=state),
        f"{lead}/schedstat": f"{run * 10**6} {wait * 10**6} 5\n",
        f"{lead}/status": f"Name:\tengram\nvoluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t0\n",
        f"{lead}/sched": "engram (42, #threads: 3)\nse.nr_migrations : 3\n",
        f"{lead}/wchan": wchan,
    }


def plain() -> dict[str, str]:
    """A bare-metal host of four cores without a control group, and a server of one thread on it."""
    return {
        "proc/42/stat": stat(42),
        "proc/42/status": "Name:\tengram\nUid:\t998\t998\t998\t998\nThreads:\t1\nVmRSS:\t 1024 kB\nVmSwap:\t 0 kB\n"
        "Cpus_allowed_list:\t0-3\n",
        "proc/42/limits": "Limit   Soft Limit  Hard Limit  Units\n"
        "Max processes             1000                 1000                 processes\n"
        "Max open files            1024                 4096                 files\n",
        "proc/42/cgroup": "0::/\n",
        **thread(42),
        "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel Xeon\n"
        "flags\t\t: sse2 avx avx2\n",
        "proc/loadavg": "0.40 0.62 0.42 2/200 27581\n",
        "proc/meminfo": "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n",
        "proc/stat": "cpu  4000 0 1000 20000 200 0 100 0 0 0\n",
        "proc/uptime": "10000.00 35000.00\n",
        "proc/sys/kernel/threads-max": "10000\n",
        "proc/sys/kernel/pid_max": "4194304\n",
        "proc/self/mountinfo": "",
        "sys/devices/system/cpu/online": "0-3\n",
    }


def write(root: Path, files: Mapping[str, str]) -> Path:
    """The files below a folder, written over what is there."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, errors="surrogateescape")
    return root


def grow(root: Path) -> Path:
    """The files of a recorded host of two nodes, from lines of `path:line`."""
    texts: dict[str, str] = {}
    for line in TWO_NODES.read_text().splitlines():
        path, _, content = line.partition(":")
        texts[path] = texts.get(path, "") + content.replace("\\0", "\0") + "\n"
    return write(root, texts)


class Clock:
    """A clock that only sleeping moves; with the first sleep the later files are there."""

    def __init__(self, root: Path, later: Mapping[str, str]) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []
        self._root = root
        self._later = dict(later)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        write(self._root, self._later)
        self._later = {}


def captured(
    root: Path,
    later: Mapping[str, str] | None = None,
    *,
    data_dir: str = "",
    seconds: float = 5.0,
    limits: Mapping[str, float] = LIMITS,
    sleep: Callable[[float], object] | None = None,
) -> list[Answer]:
    """What capture says of the host below `root`, whose files change to `later` meanwhile."""
    clock = Clock(root, later or {})
    machine = Machine("id", str(root / "proc"), str(root / "sys"), lambda: clock.now)
    return capture_local(machine, SERVER, limits=limits, data_dir=data_dir, seconds=seconds, sleep=sleep or clock.sleep)


def facts(root: Path, later: Mapping[str, str] | None = None, **how: object) -> Facts:
    return {fact.key: fact for fact in facts_of_local(captured(root, later, **how))}  # type: ignore[arg-type]


def value(found: Facts, name: str, scope: Scope = INSTANCE) -> object:
    """A figure, where the interval is one, else the interval or the text."""
    known = found[name, scope]
    assert known.value is not None, f"{name}: {known.unknown}"
    return known.value[0] if isinstance(known.value, tuple) and known.value[0] == known.value[1] else known.value


def why(found: Facts, name: str) -> tuple[Reason, str]:
    """Why a fact is unknown."""
    unknown = found[name, INSTANCE].unknown
    assert unknown is not None, f"{name} is {found[name, INSTANCE].value}"
    return unknown.reason, unknown.detail
