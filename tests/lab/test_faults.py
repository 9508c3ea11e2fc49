"""Faults are data that fit the lab's settings, the rule base, and each other."""

import subprocess
import sys
from pathlib import Path

import pytest

from engram_diagnose.lab.fault import SEVERITIES, Fault, NoSuchFaultError, Scaled, Surroundings
from engram_diagnose.lab.faults import FAULTS, environment_of, fault_named, settings_of
from engram_diagnose.lab.host import Host
from engram_diagnose.lab.settings import key_names, parse_settings
from engram_diagnose.rulebase import load_rules

HOST = Host(cores=4, memory_mb=24_000, numa_nodes=1, avx="avx2", flash=True)
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def toml(settings: dict[str, object]) -> str:
    return "".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
                   for key, value in settings.items())  # fmt: skip


@every_fault
@pytest.mark.parametrize("cores", [1, 2, 4, 64])
@pytest.mark.parametrize("memories", [1, 12_000, 60_000])
def test_the_lab_takes_every_severity_on_every_host(fault: Fault, cores: int, memories: int) -> None:
    for severity in fault.severities:
        settings = settings_of(severity, cores=cores, memories=memories)
        taken, warnings = parse_settings(toml(settings), where="engram.toml", host=HOST)
        assert not warnings
        for key, value in settings.items():
            assert getattr(taken, key.replace(".", "_").lower()) == value


@every_fault
def test_the_rules_that_count_as_right_are_causes_of_the_rule_base(fault: Fault) -> None:
    rules = load_rules((), thorough=False).rules.rules
    assert fault.right <= rules.keys()
    assert all(rules[name].kind == "cause" for name in fault.right)


@every_fault
def test_what_would_mend_it_is_what_was_changed(fault: Fault) -> None:
    assert set(fault.mended_by) <= set(key_names())
    for severity in fault.severities:
        assert bool(set(fault.mended_by) & set(severity.settings)) == bool(fault.mended_by)


@every_fault
def test_it_comes_mild_plain_and_severe_under_a_load_of_whole_shares(fault: Fault) -> None:
    assert tuple(severity.name for severity in fault.severities) == SEVERITIES
    assert sum(fault.load.mix.values()) == pytest.approx(1)
    assert fault.load.rate > 0
    assert all(severity.heavier > 0 for severity in fault.severities)


@every_fault
def test_something_is_changed_unless_it_is_healthy(fault: Fault) -> None:
    for severity in fault.severities:
        changed = bool(severity.settings) or bool(severity.environment) or severity.around.any
        assert changed != fault.healthy


@every_fault
def test_the_breached_figures_are_facts(fault: Fault) -> None:
    facts = load_rules((), thorough=False).catalogue
    for name in fault.breaches:
        assert facts.spec(name.partition("{")[0]) is not None, name


def test_two_at_once_are_both_there() -> None:
    both = fault_named("cpu-quota+fsync-per-write")
    assert both.causes == fault_named("cpu-quota").causes + fault_named("fsync-per-write").causes
    plain = both.severity("plain")
    assert plain.settings["wal.sync_mode"] == "immediate"
    assert plain.around.cpu_quota == fault_named("cpu-quota").severity("plain").around.cpu_quota


def test_missing_metrics_are_left_out_by_the_lab_itself() -> None:
    veiled = fault_named("missing-metrics")
    environment = environment_of(veiled, veiled.severity("plain"))
    assert environment["ENGRAM_LAB_WITHOUT_METRICS"] == "engram_wal_bytes_written_total"
    assert veiled.causes == fault_named("fsync-per-write").causes


def test_a_pool_grows_with_the_cores_and_a_tier_with_the_memories() -> None:
    assert Scaled("cores", 8).figure(cores=4, memories=1) == 32
    assert Scaled("cores", 0.5).figure(cores=1, memories=1) == 1
    assert Scaled("memories", 0.5, whole=False).figure(cores=1, memories=1 << 20) == 1600
    with pytest.raises(ValueError, match="there are cores, memories"):
        Scaled("moons", 1).figure(cores=1, memories=1)


def test_an_unknown_fault_or_severity_is_answered_with_those_there_are() -> None:
    with pytest.raises(NoSuchFaultError, match=r"no fault 'fsync'; did you mean fsync-per-write"):
        fault_named("fsync")
    with pytest.raises(NoSuchFaultError, match=r"demo --list"):
        fault_named("%" * 10_000)
    with pytest.raises(NoSuchFaultError, match="comes as mild, plain, severe, not as 'fatal'"):
        fault_named("one-shard").severity("fatal")


def test_nothing_around_a_server_is_nothing() -> None:
    assert not Surroundings().any
    assert Surroundings(neighbours=1).any


def test_the_faults_need_the_standard_library_alone(root: Path) -> None:
    program = (
        "import sys; before = set(sys.modules); import engram_diagnose.lab.faults, engram_diagnose.lab.planting\n"
        "added = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(added - set(sys.stdlib_module_names) - {'engram_diagnose'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
