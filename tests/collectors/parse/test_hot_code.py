"""Whether the code around the samples is vector code."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.disassembly import Function, around, hottest
from engram_diagnose.collectors.parse.hot_code import (
    HOT_CODE_FACTS,
    facts_of_hot_code,
    neighbourhood,
    packed,
    parse_hot_code,
)
from engram_diagnose.engine.facts.fact import Reason, Status

DATA = Path(__file__).parents[2] / "data/profile"


def answer(text: str | None, reason: str = "", detail: str = "") -> Answer:
    return Answer("profile", "objdump", 1_790_000_000.0, "db1", text, reason, detail)


def text_of(name: str, samples: dict[int, int], machine: str = "x86_64") -> str:
    code = around((DATA / name).read_text(encoding="utf-8"), samples)
    function = {"symbol": "f", "binary": "/x", "samples": {str(at): n for at, n in samples.items()}, "code": code}
    return json.dumps({"machine": machine, "samples": sum(samples.values()), "functions": [function], "refusals": []})


def fact(text: str):
    (said,) = facts_of_hot_code([answer(text)])
    assert {said.name} == HOT_CODE_FACTS
    return said


def test_a_real_vector_loop_is_packed_and_a_real_scalar_one_is_mostly_not():
    vector = fact(text_of("objdump-2.40.avx2.txt", {0x15: 300, 0x1B: 500}))
    assert vector.value[0] > 0.9
    assert vector.status is Status.PROXY
    assert vector.proxy_of == "simd.packed_share"
    scalar = fact(text_of("objdump-2.40.scalar.txt", {0x40: 300, 0x3C: 200}))
    assert scalar.value[1] < 0.5


def test_only_what_stands_within_eight_instructions_counts():
    lines = [[0, "vaddps %ymm0,%ymm1,%ymm2"], *([n, "nop"] for n in range(1, 9)), [9, "addss %xmm0,%xmm1"]]
    entry = {"symbol": "f", "binary": "/x", "samples": {"8": 10}, "code": lines}
    near = neighbourhood(parse_hot_code(json.dumps({"machine": "x86_64", "samples": 10, "functions": [entry]})))
    assert (near.looked_at, near.computing, near.packed) == (10, 10, 5.0)
    entry["samples"] = {"9": 10}
    near = neighbourhood(parse_hot_code(json.dumps({"machine": "x86_64", "samples": 10, "functions": [entry]})))
    assert near.packed == 0.0
    entry["code"] = [*lines[:9], None, lines[9]]
    entry["samples"] = {"8": 10}
    near = neighbourhood(parse_hot_code(json.dumps({"machine": "x86_64", "samples": 10, "functions": [entry]})))
    assert near.packed == 10.0, "beyond a gap is not near"


@pytest.mark.parametrize(
    ("instruction", "machine", "kind"),
    [
        ("addss  %xmm1,%xmm0", "x86_64", False), ("addps  %xmm1,%xmm0", "x86_64", True),
        ("vfmadd231ps (%rdi,%rax,1),%ymm2,%ymm0", "x86_64", True), ("vfmadd231sd %xmm2,%xmm1,%xmm0", "x86_64", False),
        ("mulsd  %xmm1,%xmm0", "x86_64", False), ("vmulpd %zmm1,%zmm0,%zmm0{%k1}", "x86_64", True),
        ("vdpps  $0xff,%xmm1,%xmm0,%xmm0", "x86_64", True), ("vpdpbusd %ymm1,%ymm2,%ymm3", "x86_64", True),
        ("vpmaddubsw %ymm1,%ymm2,%ymm3", "x86_64", True), ("vsqrtss %xmm0,%xmm0,%xmm0", "x86_64", False),
        ("movups (%rsi),%xmm2", "x86_64", None), ("vmovaps %ymm0,(%rdi)", "x86_64", None),
        ("xorps %xmm0,%xmm0", "x86_64", None),
        ("add    $0x20,%rax", "x86_64", None), ("subs x0, x0, #1", "aarch64", None),
        ("fmulp  %st,%st(1)", "x86_64", False),
        ("rep movsb %ds:(%rsi),%es:(%rdi)", "x86_64", None), ("lock addl $0x1,(%rax)", "x86_64", None),
        ("", "x86_64", None),
        ("fmla v0.4s, v1.4s, v2.4s", "aarch64", True), ("fmadd s0, s1, s2, s0", "aarch64", False),
        ("fmla z0.s, p0/m, z1.s, z2.s", "aarch64", True), ("fadd d0, d1, d2", "aarch64", False),
        ("ldr q0, [x1], #16", "aarch64", None), ("sdot v0.4s, v1.16b, v2.16b", "aarch64", True),
        ("add x0, x0, #4", "aarch64", None),
    ],
)  # fmt: skip
def test_instructions_are_packed_scalar_or_neither(instruction, machine, kind):
    assert packed(instruction, machine) is kind


def test_what_was_never_checked_on_a_real_machine_says_so():
    assert "experimental" not in fact(text_of("objdump-2.40.avx2.txt", {0x15: 300})).quality
    lines = [[0, "fmla v0.4s, v1.4s, v2.4s"]]
    entry = {"symbol": "f", "binary": "/x", "samples": {"0": 100}, "code": lines}
    arm = fact(json.dumps({"machine": "aarch64", "samples": 100, "functions": [entry]}))
    assert arm.value[0] > 0.9
    assert "experimental" in arm.quality


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"machine": "x86_64", "samples": 0, "functions": []}), Reason.TOO_FEW_SAMPLES),
        (json.dumps({"machine": "x86_64", "samples": 9, "functions": [], "refusals": ["x: the file cannot be read"]}),
         Reason.SOURCE_ABSENT),
        (json.dumps({"machine": "x86_64", "samples": 9, "functions": [
            {"symbol": "f", "samples": {"0": 9}, "code": [[0, "nop"]]}]}), Reason.TOO_FEW_SAMPLES),
        ("[]", Reason.UNPARSED), ("{}", Reason.UNPARSED), ('{"machine": 1, "functions": []}', Reason.UNPARSED),
        ('{"machine": "x86_64", "samples": true, "functions": []}', Reason.UNPARSED),
        ('{"machine": "x86_64", "samples": 1, "functions": [{"samples": {"-1": 1}, "code": []}]}', Reason.UNPARSED),
        ('{"machine": "x86_64", "samples": 1, "functions": [{"samples": {}, "code": [[true, "x"]]}]}', Reason.UNPARSED),
    ],
)  # fmt: skip
def test_what_tells_nothing_is_unknown_with_its_reason(text, reason):
    assert fact(text).unknown.reason is reason


def test_without_an_answer_or_a_tool_the_way_to_it_is_said():
    (said,) = facts_of_hot_code([])
    assert said.unknown.reason is Reason.NOT_COLLECTED
    (said,) = facts_of_hot_code([answer(None, "NO_TOOL", "objdump is not installed")])
    assert "binutils" in said.get_by


WHOLE = text_of("objdump-2.40.avx2.txt", {0x15: 300, 0x1B: 500})


@given(st.integers(0, len(WHOLE)), st.text(max_size=5), st.integers(0, 8))
def test_a_damaged_answer_is_survived(at, damage, cut):
    said = fact(WHOLE[:at] + damage + WHOLE[at + cut :])
    assert said.unknown or 0 <= said.value[0] <= said.value[1] <= 1


@given(st.text(max_size=300), st.dictionaries(st.integers(0, 100), st.integers(1, 9), max_size=5))
def test_any_text_of_objdump_is_survived(text, samples):
    around("0000000000001230 <f>:\n" + text, samples)


def test_functions_of_one_name_are_told_apart_by_where_the_samples_fall():
    text = (
        "0000000000001000 <f>:\n    1000:\tnop\n    1005:\tnop\n"
        "0000000000002000 <f>:\n    2000:\taddss %xmm0,%xmm1\n    2004:\tret\n"
    )
    assert around(text, {4: 3}) == [[0, "addss %xmm0,%xmm1"], [4, "ret"]]


def test_the_hottest_functions_come_first_and_deleted_files_are_not_looked_for():
    found = hottest({("a", 1, "/x"): 1, ("b", 2, "/x"): 5, ("b", 4, "/x"): 5, ("c", 0, "/y (deleted)"): 99}, most=1)
    assert found == [Function("b", "/x", {2: 5, 4: 5})]
