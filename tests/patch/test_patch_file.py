"""A patch file is read back as it was written, and nothing else is taken for one."""

import datetime
import shutil
import subprocess
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from engram_diagnose.patch.file import (
    PatchError,
    SavedPatch,
    body,
    content_to_apply,
    digest,
    machine_lines,
    read_patch,
    refuse_expired,
)
from engram_diagnose.patch.unified import unified

MADE = datetime.datetime(2026, 3, 1, 9, 30, tzinfo=datetime.UTC)
EXPIRES = MADE + datetime.timedelta(days=7)
BEFORE = b'[wal]\r\nsync_mode = "immediate" # \xc3\xa9\r\na = 1\r\n[x]'
AFTER = BEFORE.replace(b"immediate", b"batch") + b"\r\ny = 1"


def text_of(before: bytes = BEFORE, after: bytes = AFTER, *, file: str = "/etc/engram/engram.toml") -> str:
    lines = machine_lines(file=file, base=digest(before), result=digest(after), made=MADE, expires=EXPIRES)
    lines[3:3] = ["#", "# Group commit: fewer flushes. file: is not a field here", "# base line: none"]
    diff = unified(before, after, name="engram.toml")
    return "\n".join(lines) + "\n#\n" + body(diff, unified(after, before, name="engram.toml"))


def test_a_patch_is_read_as_it_was_written() -> None:
    text = text_of()
    diff, reverse = unified(BEFORE, AFTER, name="engram.toml"), unified(AFTER, BEFORE, name="engram.toml")
    assert read_patch(text) == SavedPatch(
        "/etc/engram/engram.toml", digest(BEFORE), digest(AFTER), MADE, EXPIRES, diff, reverse, text
    )
    assert content_to_apply(read_patch(text), BEFORE) == AFTER
    assert content_to_apply(read_patch(text), AFTER) == AFTER


@hypothesis.given(st.text(min_size=1), st.binary(max_size=40), st.binary(max_size=40))
def test_any_path_and_any_bytes_come_back(file: str, before: bytes, after: bytes) -> None:
    hypothesis.assume(before != after)
    patch = read_patch(text_of(before, after, file=file))
    assert patch.file == file
    assert content_to_apply(patch, before) == after


@hypothesis.given(st.data())
def test_a_truncated_patch_is_refused(data: st.DataObject) -> None:
    text = text_of()
    with pytest.raises(PatchError, match="again"):
        read_patch(text[: data.draw(st.integers(0, len(text) - 1))])


def test_gnu_patch_takes_the_file_as_it_is(tmp_path: Path) -> None:
    if not (program := shutil.which("patch")):
        pytest.skip("no GNU patch here")
    (tmp_path / "engram.toml").write_bytes(BEFORE)
    command = [program, "--fuzz=0", "engram.toml"]
    subprocess.run(command, cwd=tmp_path, input=text_of().encode(), check=True, capture_output=True, timeout=60)
    assert (tmp_path / "engram.toml").read_bytes() == AFTER


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# engram-diagnose patch 1", "# engram-diagnose patch 2", r"another version \(engram-diagnose patch 2\)"),
        ("# engram-diagnose patch 1", "#!/bin/sh", "no patch: its first line"),
        ("\n", "\r\n", "line ends of the patch were changed"),
        ("# base: sha256:", "# base: md5:", "'# base:' should be followed by sha256"),
        ("# made: 2026", "# made: long ago 2026", "'# made:' should be followed by a time"),
        ("# expires: ", "# Expires: ", "no line '# expires: …'"),
        ("#\n# Group", "# file: /etc/passwd\n# Group", "says twice what its 'file' is"),
        ("# reverse:", "# backwards:", "truncated"),
        ("# | @@", "# @@", "is no line of a patch"),
        ("+sync_mode", "+sync_mood", "do not belong together, so the result would not be the one whose sha256"),
        ("# | -sync_mode", "# | -sync_mood", "do not belong together"),
        ("@@ -1,4", "@@ -1,7", "damaged or truncated"),
        ("@@ -1,4", "@@ -x", "instead of a line with @@"),
    ],
)
def test_what_is_no_sound_patch_is_refused(old: str, new: str, message: str) -> None:
    assert old in text_of()
    with pytest.raises(PatchError, match=message):
        read_patch(text_of().replace(old, new))


def test_an_edited_diff_is_told_by_the_hash_of_its_result() -> None:
    edited = text_of().replace('+sync_mode = "batch"', '+sync_mode = "none"')
    edited = edited.replace('# | -sync_mode = "batch"', '# | -sync_mode = "none"')
    with pytest.raises(PatchError, match="result whose sha256 the patch names: it was edited by hand; make the patch"):
        content_to_apply(read_patch(edited), BEFORE)


def test_a_patch_for_another_file_is_refused() -> None:
    with pytest.raises(PatchError, match="moved on since; make the patch again"):
        content_to_apply(read_patch(text_of()), BEFORE + b"\n")


def test_a_patch_ends_with_its_time() -> None:
    patch = read_patch(text_of())
    refuse_expired(patch, now=EXPIRES - datetime.timedelta(seconds=1))
    with pytest.raises(PatchError, match=r"expired at 2026-03-08T09:30:00Z.* make the patch again"):
        refuse_expired(patch, now=EXPIRES)
