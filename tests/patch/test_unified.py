"""Unified diffs are what GNU patch takes, and are followed strictly."""

import shutil
import subprocess
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from engram_diagnose.patch.unified import PatchError, patched, unified

LINES = st.lists(
    st.sampled_from(
        [
            b"a",
            b"b",
            b"c",
            b"",
            b"-",
            b"--- x",
            b"+++ y",
            b"@@ -1 +1 @@",
            b" d",
            b"\\ No newline at end of file",
            b"e\r",
        ]
    ),
    max_size=25,
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    lines = draw(LINES)
    text = b"".join(line + b"\n" for line in lines)
    return draw(st.sampled_from([text, text.removesuffix(b"\n"), b"\xef\xbb\xbf" + text, text + b"\xff\xe9"]))


@hypothesis.settings(max_examples=500)
@hypothesis.given(texts(), texts())
def test_a_diff_leads_from_the_one_text_to_the_other(before: bytes, after: bytes) -> None:
    assert patched(before, unified(before, after, name="engram.toml")) == after
    assert unified(before, before, name="engram.toml") == ""


def gnu_patched(folder: Path, before: bytes, diff: str) -> bytes:
    program = shutil.which("patch")
    if program is None:
        pytest.skip("no GNU patch here")
    (folder / "in").write_bytes(before)
    encoded = diff.encode("utf-8", "surrogateescape")
    ran = subprocess.run(
        [program, "--fuzz=0", "-o", "out", "in"], cwd=folder, input=encoded, capture_output=True, check=True, timeout=60
    )
    assert b"fuzz" not in ran.stdout
    return (folder / "out").read_bytes()


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(texts(), texts())
def test_gnu_patch_comes_to_the_same(tmp_path: Path, before: bytes, after: bytes) -> None:
    hypothesis.assume(before != after and before and after)
    assert gnu_patched(tmp_path, before, unified(before, after, name="engram.toml")) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"[wal]\na = 1\n"),
        (b"a\r\nb\r\nc", b"a\r\nB\r\nc"),
        (b"a\r\nb\r\nc", b"a\r\nb\r\nc\r\nd"),
        (b"\xef\xbb\xbfa = 1\n", b"\xef\xbb\xbfa = 2\n"),
        (b"a\n", b"a"),
        (b"a", b"a\n"),
    ],
)
def test_line_ends_and_marks_survive_gnu_patch(tmp_path: Path, before: bytes, after: bytes) -> None:
    assert gnu_patched(tmp_path, before, unified(before, after, name="engram.toml")) == after
    assert patched(after, unified(after, before, name="engram.toml")) == before


def test_gnu_patch_finds_a_file_of_any_name(tmp_path: Path) -> None:
    for name in ("engram.toml", "my engram.toml", 'quo"te.toml', "tab\there.toml"):
        (tmp_path / name).write_bytes(b"a\n")
        if not (program := shutil.which("patch")):
            pytest.skip("no GNU patch here")
        diff = unified(b"a\n", b"b\n", name=name)
        subprocess.run([program, "-p0"], cwd=tmp_path, input=diff.encode(), check=True, capture_output=True, timeout=60)
        assert (tmp_path / name).read_bytes() == b"b\n"


def test_a_diff_reads_as_one_expects() -> None:
    before = b"".join(b"%d\n" % number for number in range(1, 21))
    after = before.replace(b"5\n", b"five\n", 1).replace(b"20\n", b"20\n21")
    assert unified(before, after, name="engram.toml") == (
        "--- engram.toml\n+++ engram.toml\n"
        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        "@@ -18,3 +18,4 @@\n 18\n 19\n 20\n+21\n\\ No newline at end of file\n"
    )


def test_a_diff_for_another_text_is_refused() -> None:
    diff = unified(b"a\nb\nc\n", b"a\nB\nc\n", name="engram.toml")
    for other in (b"a\nx\nc\n", b"0\na\nb\nc\n", b"a\nb\n", b"a\r\nb\r\nc\r\n", b""):
        with pytest.raises(PatchError, match="does not fit the file; make the patch again"):
            patched(other, diff)


@hypothesis.given(st.data())
def test_a_truncated_diff_is_refused(data: st.DataObject) -> None:
    base = b"a\nb\nc\n"
    diff = unified(base, b"a\nB\nc\nd", name="engram.toml")
    cut = diff[: data.draw(st.integers(1, len(diff) - 1))]
    try:
        assert patched(base, cut) != b"a\nB\nc\n"
    except PatchError:
        return
    assert cut == diff.removesuffix("\\ No newline at end of file\n")


def test_ten_megabytes_with_changes_at_both_ends_take_seconds() -> None:
    before = b"".join(b"key_%d = %d\n" % (number, number % 7) for number in range(600_000))
    after = before.replace(b"key_1 = 1\n", b"key_1 = 2\n").replace(b"key_599990 = ", b"new = 1\nkey_599990 = ")
    start = time.process_time()
    diff = unified(before, after, name="engram.toml")
    assert diff.count("@@ -") == 2
    assert len(diff.splitlines()) == 17
    assert patched(before, diff) == after
    assert time.process_time() - start < 30


def test_texts_without_anything_in_common_take_seconds() -> None:
    before = b"".join(b"a%d\n" % number for number in range(50_000))
    after = b"".join(b"b%d\n" % number for number in range(50_000))
    start = time.process_time()
    assert patched(before, unified(before, after, name="engram.toml")) == after
    assert time.process_time() - start < 30
