"""
What the command does: look at the server, show the plan, load, judge, advise, clean up.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engram_diagnose.bench.advice import (
    Wish,
    client_record,
    diagnosis_of,
    merged_recommendations,
    told_problems,
    with_load,
)
from engram_diagnose.bench.asking import Asking
from engram_diagnose.bench.cleaning import clean_up
from engram_diagnose.bench.cleaning import told as told_remains
from engram_diagnose.bench.document import report_document
from engram_diagnose.bench.guards import Address, GuardError, checked_address, require_bounds, require_confirmation
from engram_diagnose.bench.loading import EngineLoader
from engram_diagnose.bench.plans import Plan, Wanted, planned
from engram_diagnose.bench.plans import told as told_plan
from engram_diagnose.bench.preflight import Server, look_at
from engram_diagnose.bench.results import Setting, benchmark_document
from engram_diagnose.bench.running import Bench, Done, Seen, run_benchmark
from engram_diagnose.bench.sending.processes import Launcher, ThisMachine
from engram_diagnose.bench.stopping import Stopping
from engram_diagnose.bench.verdict import judge
from engram_diagnose.bench.workloads import RAMP
from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.collectors.bundle_format import Bundle, BundleError
from engram_diagnose.collectors.gather import Request
from engram_diagnose.collectors.instances import interfaces
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules

Say = Callable[[str], None]
Json = Mapping[str, Any]
_TAG_BYTES: Final = 3


@dataclass(frozen=True, slots=True)
class Order:
    """
    What the operator gave: whom, what, and what to look at meanwhile.

    `confirmed` are the hosts after `--confirm`, `bundles` the folder in which each load's bundle is kept, or None.
    `cluster` is a Dask scheduler whose machines send the load; empty for this machine.
    """

    url: str
    wanted: Wanted
    token: str = ""
    confirmed: tuple[str, ...] = ()
    dialect: str = ""
    config_file: str = ""
    data_dir: str = ""
    pid: int | None = None
    diagnose: bool = True
    dry: bool = False
    bundles: Path | None = None
    cluster: str = ""


class NothingMeasuredError(ValueError):
    """A benchmark that was ended before a single run was made; says by what."""


def tag() -> str:
    """What tells the memory spaces of this benchmark from those of others."""
    return secrets.token_hex(_TAG_BYTES)


def benchmarked(order: Order, packs: Sequence[Path], *, say: Say, progress: Say) -> dict[str, Any] | None:
    """
    The report of a benchmark (`rules/schema/bench-report-v1.json`); None where only the plan was wanted.

    The plan is shown before anything is sent but the preflight's handful of requests. What was stored is taken away
    again, also after Ctrl-C, or named. Raises `GuardError`, `PreflightError`, `NoAnswerError`, `LoadFailedError`,
    `NothingMeasuredError`, `LaunchError` and `RuleBaseError`, each with what to do.
    """
    loaded = load_rules(packs, thorough=False)
    limits = read_limits(loaded.texts, "bench")
    require_dialect(order.dialect, loaded)
    address = checked_address(order.url)
    plan = planned(address, order.wanted, loaded.catalogue, limits)
    with stopping(say) as stop, Asking(address, token=order.token, wait=limits["preflight_wait"]) as asking:
        if order.dry or not address.is_this_machine:
            show(plan, address.authority, say)
        if order.dry:
            return None
        require_confirmation([address], order.confirmed)
        require_bounds(plan.size, limits)
        server = look_at(asking, interfaces(loaded.catalogue.dialects), dialect=order.dialect, space=plan.look_space)
        if address.is_this_machine:
            show(plan, called(server), say)
        wish = _wish(order, server, loaded, address) if order.diagnose else None
        try:
            with launching(order.cluster, [address], say) as launcher:
                setting = Setting(plan, server, limits, digest(order.config_file), launcher.hosts)
                loader = EngineLoader(setting, token=order.token, stopping=stop.event, progress=progress,
                                      launcher=launcher)  # fmt: skip
                done = run_benchmark(Bench(setting, asking, loader, wish, say, stop.event.is_set))
        finally:
            remains = clean_up(asking, server.routes, plan.every_space, offered=server.removes_spaces)
            for line in told_remains(remains, url=address.url, routes=server.routes):
                say(line)
    return _report(done, order, setting, loaded, wish, say=say)


def require_dialect(name: str, loaded: Loaded) -> None:
    """Raises `GuardError` for a dialect that there is not."""
    if name and name not in loaded.catalogue.dialects:
        raise GuardError(f"there is no dialect {name!r}; known: {', '.join(sorted(loaded.catalogue.dialects))}")


@contextmanager
def stopping(say: Say) -> Iterator[Stopping]:
    """Ctrl-C ends the load first, and cleaning up when it is pressed once more."""
    with Stopping(lambda: say("stopping: what was measured is kept; once more, and what was stored stays")) as one:
        yield one


@contextmanager
def launching(cluster: str, servers: Sequence[Address], say: Say) -> Iterator[Launcher]:
    """
    Where a load is sent from: this machine, or those of a Dask cluster.

    Raises `ClusterError`, also where a machine of it would load a server of its own under a loopback address.
    """
    if not cluster:
        yield ThisMachine()
        return
    from engram_diagnose.bench.sending.cluster import Cluster, ClusterError

    with Cluster(cluster) as found:
        here = ThisMachine().hosts
        for address in servers:
            if address.is_this_machine and found.hosts != here:
                raise ClusterError(f"{address.authority} is another machine for each that sends; name the server as "
                                   "all of them reach it")  # fmt: skip
        say(f"sent from {', '.join(found.hosts)}, by the cluster {cluster}")
        yield found


def show(plan: Plan, server: str, say: Say) -> None:
    """Show a plan."""
    for line in told_plan(plan, server=server):
        say(line)


def called(server: Server) -> str:
    """A server as the plan names it."""
    version = f" {server.version}" if server.version else ""
    memories = "" if server.memories is None else f", {server.memories:,} memories"
    return f"{server.address} ({server.dialect}{version}{memories})"


def digest(path: str) -> str:
    """The digest of the server's configuration file; empty where it is not given or cannot be read."""
    try:
        return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def _wish(order: Order, server: Server, loaded: Loaded, address: Address) -> Wish:
    request = Request(
        server_url=address.url, server_token=order.token, config_file=order.config_file, data_dir=order.data_dir,
        pid=order.pid, dialect=server.dialect, target_set=order.wanted.targets, local=address.is_this_machine,
    )  # fmt: skip
    return Wish(request, loaded)


# The report


def _report(done: Done, order: Order, setting: Setting, loaded: Loaded, wish: Wish | None, *,
            say: Say) -> dict[str, Any]:  # fmt: skip
    if not done.runs:
        raise NothingMeasuredError(f"nothing was measured: {done.ended or 'the plan has no step'}")
    targets, notes = order.wanted.targets, list(done.notes)
    if done.ended:
        notes.append(f"it was ended early: {done.ended}")
    looked = [one for one in done.seen if one.run["workload"]["name"] != RAMP] if wish else []
    bundles = [(one, _bundle(one, done, setting, wish)) for one in looked] if wish else []
    notes += told_problems(one.bundle for one in looked)
    if looked and setting.plan.address.is_this_machine:
        used = f"{_most_cpu(looked):.0%} of a core in its busiest process"
        notes.append(f"the client ran on the server's own machine: what it used ({used}) is told among other processes")
    if order.bundles is not None:
        _keep(bundles, order.bundles, say=say)
    diagnoses = [diagnosis_of(bundle, loaded, target_set=targets) for _, bundle in bundles]
    name = f"{order.wanted.workload} on {setting.server.address}"
    report = report_document(
        benchmark=benchmark_document(name, done.runs),
        verdicts=judge(done.runs, loaded.catalogue, setting.limits, targets=targets),
        target_set=targets, catalogue=loaded.catalogue, notes=notes,
    )  # fmt: skip
    return report | {"recommendations": merged_recommendations(diagnoses)}


def _most_cpu(looked: Sequence[Seen]) -> float:
    return max(float(one.run["validity"]["worker_cpu_share"]) for one in looked)


def _bundle(one: Seen, done: Done, setting: Setting, wish: Wish) -> Bundle:
    record = client_record(one.run, setting.limits, quality=done.quality if "recall" in one.run["operations"] else None)
    return with_load(one.bundle, record, wish, at=time.time(), address=setting.server.address,
                     dialect=setting.server.dialect)  # fmt: skip


def _keep(bundles: Sequence[tuple[Seen, Bundle]], folder: Path, *, say: Say) -> None:
    """Each load's bundle as a file of its own; a disk that is full loses no report."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say(f"cannot make {folder}: {error.strerror or error}; no bundle is kept")
        return
    for seen, bundle in bundles:
        path = folder / f"{seen.run['order']:02d}-{seen.run['workload']['name']}.bundle"
        try:
            write_bundle(path, replace(bundle))
        except BundleError as error:
            say(f"engram-diagnose: {error}")
