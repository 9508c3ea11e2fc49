"""What the probe found that may be counted here, and what to do about the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import parse_json
from engram_diagnose.engine.facts.fact import Reason

COUNTER_GET_BY: Final[Mapping[Reason, str]] = {
    Reason.NO_PMU: "measure on bare metal, or on a guest that is given counters (KVM: -cpu host,pmu=on; in clouds the "
    "metal and some of the largest sizes)",
    Reason.PMU_ZERO: "have the hypervisor pass real counters on, or measure on bare metal",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON, or lower kernel.perf_event_paranoid meanwhile",
    Reason.SECCOMP: "collect on the host with --pid, or allow perf_event_open in the container's seccomp profile",
    Reason.NO_TOOL: "install perf (linux-perf or linux-tools) on the server's host",
    Reason.KERNEL_CONFIG: "use a kernel with CONFIG_PERF_EVENTS",
    Reason.MUX_LOW: "collect for longer, while nothing else counts: other profilers, the NMI watchdog",
    Reason.NOT_COUNTED: "collect again while there is load, and while nothing else counts",
    Reason.TOO_FEW_SAMPLES: "collect while there is load",
    Reason.PTRACE_DENIED: "collect as root, or as the user that the server runs as",
    Reason.NOT_COLLECTED: "run `engram-diagnose profile` on the server's host",
    Reason.BUDGET: "collect for longer",
    Reason.EVENT_UNSUPPORTED: "measure the same load on a CPU that counts it; perf list shows what this one offers",
    Reason.TARGET_GONE: "collect again while the server runs",
    Reason.UNPARSED: "collect again; if it stays, report what `perf stat -j` prints on this host",
    Reason.TOO_EXPENSIVE: "perf stat -p PID with fewer events at once, while there is little load",
}
"""What would obtain a fact of the counters, by why it is not there."""

_ABSENT: Final = frozenset({"ENOENT", "ENODEV", "EOPNOTSUPP", "ENXIO", "EINVAL"})
_DENIED: Final = frozenset({"EACCES", "EPERM"})
_FILTERED: Final = frozenset({"EPERM", "ENOSYS"})


@dataclass(frozen=True, slots=True)
class Access:
    """
    What may be counted: `opens` by what was asked for the errno that refused it, "" where it was granted.

    `width` is how many slots a cycle has, 0 where the kernel does not say, `nodes` how many NUMA nodes there are, 0
    where that is not known.
    """

    opens: Mapping[str, str]
    paranoid: str
    seccomp: str
    table: str
    width: int
    smt: bool
    nodes: int

    @property
    def user_only(self) -> bool:
        """Whether the kernel's part could not be counted."""
        return bool(self.opens.get("cycles"))

    @property
    def cores(self) -> Missing | None:
        """Why the cores' counters cannot be had for the server, if they cannot."""
        refused = self._refused("software_user") or self._counter("cycles_user")
        if refused is not None:
            return refused
        error = self.opens.get("target_software", "")
        if error == "ESRCH":
            return Missing(Reason.TARGET_GONE, "the process ended")
        if error in _DENIED:
            return Missing(Reason.PTRACE_DENIED, "the process is another user's")
        return self._counter("target_cycles")

    @property
    def host(self) -> Missing | None:
        """Why nothing can be counted for the whole host, if nothing can."""
        refused = self._refused("software_user")
        if refused is not None:
            return refused
        error = self.opens.get("host_software", "")
        return self._forbidden(f"counting the whole host: {error}") if error else None

    def _refused(self, asked: str) -> Missing | None:
        """Why not even a counter of the kernel's own, for this very process, is to be had."""
        error = self.opens.get(asked, "")
        if not error:
            return None
        if error == "ENOSYS" and not self.paranoid:
            return Missing(Reason.KERNEL_CONFIG, "perf_event_open: ENOSYS")
        if error in _FILTERED and (self.seccomp != "0" or error == "ENOSYS"):
            return Missing(Reason.SECCOMP, f"perf_event_open: {error}")
        return self._forbidden(f"perf_event_open: {error}")

    def _counter(self, asked: str) -> Missing | None:
        error = self.opens.get(asked, "")
        if not error:
            return None
        if error in _ABSENT:
            return Missing(Reason.NO_PMU, f"perf_event_open: {error}")
        return self._forbidden(f"perf_event_open: {error}")

    def _forbidden(self, detail: str) -> Missing:
        level = f", kernel.perf_event_paranoid is {self.paranoid}" if self.paranoid else ""
        return Missing(Reason.PARANOID, detail + level)


def parse_probe(text: str) -> Access:
    """What the probe's answer says; raises `UnparsedError`."""
    body = parse_json(text)
    if not isinstance(body, dict) or not isinstance(body.get("opens"), dict):
        raise UnparsedError("not what the probe writes")
    opens = {key: error for key, error in body["opens"].items() if isinstance(error, str)}
    if not {"software_user", "cycles_user"} <= opens.keys():
        raise UnparsedError("it does not say whether there are counters")
    return Access(
        opens=opens,
        paranoid=_text(body, "paranoid"),
        seccomp=_text(body, "seccomp"),
        table=_text(body, "table"),
        width=_whole(body, "width"),
        smt=body.get("smt") is True,
        nodes=_whole(body, "nodes"),
    )


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    return value[:200] if isinstance(value, str) else ""


def _whole(body: Mapping[str, object], key: str) -> int:
    value = body.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 16 else 0
