"""The bundle: written whole, read with suspicion."""

import base64
import errno
import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.bundle import (
    Bundle,
    BundleError,
    Limits,
    encode_bundle,
    read_bundle,
    write_bundle,
)
from engram_diagnose.collectors.capture.answer import Answer

ANSWERS = (
    Answer("host", "/proc/stat", 1_700_000_000.125, "a1", "cpu 1 2\n"),
    Answer("process", "/proc/PID/io", 1_700_000_001.0, "a1", None, "PTRACE_DENIED", "Permission denied"),
    Answer("http", "/metrics", 0.1 + 0.2, "", 'caf\udce9 "quoted"   ☃\n'),
)
BUNDLE = Bundle(
    time=1_700_000_005.5,
    tool="engram-diagnose 0.1.0",
    dialect="guide",
    instance="db1:7432",
    host="0123456789abcdef",
    host_name="db1",
    targets_set="target",
    options={"at": None, "range": 300, "deep": {"x": [1, 2.5]}},
    rules={"engram": {"digest": "sha256:0", "text": "rules: []\n"}},
    answers=ANSWERS,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
RECORDS = st.builds(Answer, TEXTS, TEXTS, FLOATS, TEXTS, st.none() | TEXTS, TEXTS, TEXTS)
BUNDLES = st.builds(Bundle, time=FLOATS, instance=TEXTS, host_name=TEXTS, targets_set=TEXTS,
                    options=st.dictionaries(TEXTS, FLOATS | TEXTS | st.none() | st.booleans()),
                    answers=st.lists(RECORDS, max_size=5).map(tuple))  # fmt: skip


def lines_of(bundle: Bundle = BUNDLE) -> list[bytes]:
    return gzip.decompress(encode_bundle(bundle)).splitlines(keepends=True)


def refused(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(data, limits=limits or Limits())
    return str(caught.value)


def test_what_is_written_is_read() -> None:
    assert read_bundle(encode_bundle(BUNDLE)) == BUNDLE


@given(bundle=BUNDLES)
def test_any_bundle_survives_the_round_trip(bundle: Bundle) -> None:
    assert read_bundle(encode_bundle(bundle)) == bundle


@given(bundle=BUNDLES)
def test_the_same_bundle_gives_the_same_bytes(bundle: Bundle) -> None:
    assert encode_bundle(bundle) == encode_bundle(bundle)


def test_a_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "incident.bundle"
    write_bundle(path, BUNDLE)
    assert read_bundle(path) == BUNDLE
    assert read_bundle(str(path)) == BUNDLE
    assert os.listdir(tmp_path) == ["incident.bundle"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_line_is_json_and_the_first_is_the_manifest() -> None:
    records = [json.loads(line) for line in lines_of()]
    assert records[0]["bundle"] == "engram-diagnose/bundle/v1"
    assert records[0]["host"] == {"id": "0123456789abcdef", "name": "db1"}
    assert records[1]["name"] == "/proc/stat"
    assert records[-1]["end"] == 3
    assert len(records) == 5


def test_plain_json_lines_are_a_bundle_too() -> None:
    assert read_bundle(b"".join(lines_of())) == BUNDLE


def test_a_bundle_without_answers_is_one() -> None:
    assert read_bundle(encode_bundle(Bundle(1.0))) == Bundle(1.0)


def test_the_answers_of_a_collector_are_found_in_order() -> None:
    assert BUNDLE.of("host") == ANSWERS[:1]


@pytest.mark.parametrize("options", [{"x": float("nan")}, {"x": {1, 2}}, {"x": float("inf")}])
def test_what_json_does_not_have_is_not_written(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="JSON"):
        write_bundle(tmp_path / "b", Bundle(1.0, options=options))
    assert os.listdir(tmp_path) == []


# Reading what is damaged.


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_bundle_is_refused(share: float) -> None:
    data = encode_bundle(BUNDLE)
    assert "collect" in refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_plain_lines_that_end_early_are_refused(count: int) -> None:
    message = refused(b"".join(lines_of()[:count]))
    assert f"line {count}" in message
    assert "ends before its last line" in message


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_flipped_byte_is_an_error_or_changes_nothing(position: int, flip: int) -> None:
    data = bytearray(encode_bundle(BUNDLE))
    data[position % len(data)] ^= flip
    with suppress(BundleError):
        assert read_bundle(bytes(data)) == BUNDLE  # in the header: its time, its system


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_bundle_error(data: bytes) -> None:
    for content in (data, gzip.compress(data), lines_of()[0] + data):
        with pytest.raises(BundleError):
            read_bundle(content)


def changed(edit: Callable[[list[dict[str, Any]]], None]) -> bytes:
    """The bundle with its records edited; the checksum fits unless that was edited too."""
    *records, end = (json.loads(line) for line in lines_of())
    written = end["sha256"]
    edit([*records, end])
    text = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    if end["sha256"] == written:
        end["sha256"] = hashlib.sha256(text).hexdigest()
    return text + json.dumps(end).encode() + b"\n"


def put(record: int, key: str, value: object) -> Callable[[list[dict[str, Any]]], None]:
    def edit(records: list[dict[str, Any]]) -> None:
        records[record][key] = value

    return edit


def test_blanks_between_the_figures_of_a_line_do_no_harm() -> None:
    assert read_bundle(changed(lambda _: None)) == BUNDLE


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (put(0, "bundle", "engram-diagnose/bundle/v2"), "version v2"),
        (put(0, "bundle", "something else"), "not a bundle"),
        (put(0, "bundle", None), "not a bundle"),
        (put(0, "time", "noon"), "`time`"),
        (put(0, "time", True), "`time`"),
        (put(0, "time", 10**400), "`time`"),
        (put(0, "host", "db1"), "`host`"),
        (put(0, "host", {"id": 1, "name": ""}), "`id`"),
        (put(0, "options", []), "`options`"),
        (put(0, "rules", {"engram": "text"}), "`rules`"),
        (put(1, "name", 5), "`name`"),
        (put(1, "body", 5), "`body`"),
        (put(1, "time", None), "`time`"),
        (put(4, "end", 7), "speaks of 7"),
        (put(4, "sha256", "00"), "checksum"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_is_named(
    edit: Callable[[list[dict[str, Any]]], None], words: str
) -> None:
    message = refused(changed(edit))
    assert words in message
    assert "line" in message
    assert ";" in message


def test_unknown_fields_of_a_later_program_are_read_past() -> None:
    assert read_bundle(changed(put(1, "colour", "blue"))) == BUNDLE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n", "not JSON"),
        (b"[]\n", "not a JSON object"),
        (b"<html>\n", "not JSON"),
        (b'{"bundle": NaN}\n', "NaN"),
        (b'{"bundle": "caf\xe9"}\n', "not UTF-8 (column 16)"),
        (b"{" * 5_000 + b"\n", "not JSON"),
        (b'{"a":' * 200_000 + b"\n", "not JSON"),
        (b'{"bundle": ' + b"9" * 5_000 + b"}\n", "not JSON"),
    ],
)
def test_a_file_that_is_no_bundle_is_named(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_something_behind_the_end_is_refused() -> None:
    assert "behind" in refused(b"".join([*lines_of(), b"{}\n"]))
    assert "behind" in refused(encode_bundle(BUNDLE) + b"more")


def test_padding_with_zeros_does_no_harm() -> None:
    assert read_bundle(encode_bundle(BUNDLE) + b"\0" * 512) == BUNDLE


# Hostile files.


def test_a_gzip_bomb_is_stopped_before_it_unpacks() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b"{" * (1 << 20)) for _ in range(64)), packer.flush()])
    assert len(bomb) < 100_000
    assert "unpacks to more" in refused(bomb, Limits(bytes=1 << 20))


def test_the_unpacked_size_is_limited() -> None:
    big = Bundle(1.0, answers=(Answer("x", "y", 1.0, "", "a" * 10_000_000),))
    data = encode_bundle(big)
    assert len(data) < 100_000
    assert "unpacks to more" in refused(data, Limits(bytes=5_000_000))
    assert "line is too long" in refused(data, Limits(line_bytes=2_000_000))
    assert read_bundle(data) == big


def test_the_packed_size_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "b"
    write_bundle(path, BUNDLE)
    with pytest.raises(BundleError, match="larger"):
        read_bundle(path, limits=Limits(compressed_bytes=100))


def test_the_number_of_records_is_limited() -> None:
    many = Bundle(1.0, answers=ANSWERS * 5)
    assert "more records" in refused(encode_bundle(many), Limits(records=10))


def test_the_nesting_is_limited() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"deep": deep}
    assert "nested" in refused(encode_bundle(Bundle(1.0, options=deep)))


# Where it cannot be read or written.


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.bundle: No such file"):
        read_bundle(tmp_path / "none.bundle")
    with pytest.raises(BundleError, match="directory"):
        read_bundle(tmp_path)
    with pytest.raises(BundleError, match="null"):
        read_bundle("a\0b")


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind_and_the_old_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "incident.bundle"
    path.write_text("the old one")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        opened = os.fdopen

        def fdopen(descriptor: int, mode: str) -> Any:
            stream = opened(descriptor, mode)
            monkeypatch.setattr(os, "fsync", full)
            return stream

        monkeypatch.setattr(os, "fdopen", fdopen)
    else:
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(BundleError, match=r"incident\.bundle: No space left"):
        write_bundle(path, BUNDLE)
    assert path.read_text() == "the old one"
    assert os.listdir(tmp_path) == ["incident.bundle"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_really_full_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.fdopen

    def onto_full(descriptor: int, mode: str) -> Any:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, descriptor)
        os.close(full)
        return opened(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", onto_full)
    # What gzip cannot shrink, so that it does not fit into the stream's buffer.
    noise = base64.b64encode(os.urandom(200_000)).decode()
    large = Bundle(1.0, answers=(Answer("x", "y", 1.0, "", noise),))
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(tmp_path / "b", large)
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    with pytest.raises(BundleError, match="Read-only file system"):
        write_bundle(tmp_path / "b", BUNDLE)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file or directory"):
        write_bundle(tmp_path / "none" / "b", BUNDLE)


def test_a_folder_in_the_place_of_the_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "b", BUNDLE)
    assert os.listdir(tmp_path) == ["b"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "b", BUNDLE)
    assert os.listdir(tmp_path) == []
