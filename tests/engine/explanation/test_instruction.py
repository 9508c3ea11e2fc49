"""Commands and configuration lines, as a shell and a server read them."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.explanation.instruction import filled_command, literal
from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.frames import Seen


def seen(**facts: Value) -> Seen:
    return Seen(Memory(Fact(name.replace("_", ".", 1), value) for name, value in facts.items()))


def test_a_process_id_has_no_separators() -> None:
    assert (
        filled_command("cat /proc/{process.pid}/io", seen(process_pid=(1234567.0, 1234567.0))) == "cat /proc/1234567/io"
    )


def test_what_is_unknown_stays_a_placeholder() -> None:
    assert filled_command("cat /proc/{process.pid}/io", seen()) == "cat /proc/PID/io"


def test_an_interval_is_no_word_for_a_shell() -> None:
    assert filled_command("sleep {wal.flush}", seen(wal_flush=(1.0, 2.0))) == "sleep FLUSH"


@given(st.text(min_size=1))
def test_a_text_is_one_word_whatever_it_holds(text: str) -> None:
    command = filled_command("echo {coherence.top_symbol} done", seen(coherence_top_symbol=text))
    assert shlex.split(command) == ["echo", text, "done"]


@pytest.mark.parametrize(
    "command", ["awk '{print $1}'", "perf stat -e '{LLC-loads,LLC-load-misses}'", "echo {a,b} {print}"]
)
def test_braces_of_the_shell_stay(command: str) -> None:
    assert filled_command(command, seen()) == command


@pytest.mark.parametrize(
    ("value", "unit", "kind", "written"),
    [
        ((1.0, 1.0), "ms", "number", "1000"),
        ((0.1, 0.1), "ms", "number", "100"),
        ((134217728.0, 134217728.0), "MiB", "number", "128"),
        ((1.0, 1.0), "", "bool", "true"),
        ((0.0, 0.0), "", "bool", "false"),
        ((0.7, 0.7), "share", "number", "0.7"),
        ((1.5 / 3600, 1.5 / 3600), "/h", "number", "1.5"),
        ("batch", "", "text", '"batch"'),
        ('a"b\\', "", "text", '"a\\"b\\\\"'),
        ((1.0, 2.0), "ms", "number", None),
    ],
)
def test_a_value_is_written_in_the_unit_of_its_key(value: Value, unit: str, kind: str, written: str | None) -> None:
    assert literal(value, UNITS[unit], kind) == written
