"""`engram-diagnose bundle`: what is in it, whether it is whole, and a copy that names nobody."""

import json
from pathlib import Path

import pytest

from engram_diagnose.cli import main
from engram_diagnose.collectors.bundle import Bundle, bundle_lines, packed, read_bundle, write_bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.incidents import example_incident

EXPOSITION = 'ops{tenant_id="acme",tenant="acme",shard="7",region="north"} 5\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.bundle"
    answers = (
        Answer("target", "target", 1.0, "h", '{"pid": 7}'),
        Answer("process", "/proc/PID/stat", 1.0, "h", "first"),
        Answer("process", "/proc/PID/stat", 2.0, "h", "sec\udcffond"),
        Answer("http", "/metrics", 2.0, "h", "{}"),
        Answer("exposition", "/metrics", 2.0, "h", EXPOSITION),
        Answer("storage", "storage/device", 2.0, "h", None, "SOURCE_ABSENT", "a tmpfs \x1b[2J is on no device"),
    )
    write_bundle(path, Bundle(1_795_316_400.0, "engram-diagnose 0.1.0", "guide", "db1:7432", "ab12", "db1",
                              options={"local": True, "dialect_told": "named by --dialect"},
                              rules={"engram": {"version": "1", "digest": "d"}}, answers=answers))  # fmt: skip
    return path


def code(*arguments: str) -> int:
    try:
        main(["bundle", *arguments])
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


def test_it_shows_when_whom_and_from_what_and_what_is_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("show", str(file)) == 0
    out = capsys.readouterr().out
    assert "2026-11-22 03:00:00 UTC by engram-diagnose 0.1.0" in out
    assert "db1:7432, dialect guide (named by --dialect)" in out
    assert "db1 (ab12), the server runs on it" in out
    assert "storage storage/device: SOURCE_ABSENT: a tmpfs \\x1b[2J is on no device" in out
    assert "\x1b" not in out
    rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.startswith(("process", "storage"))}
    assert rows == {"process": ["2", "0"], "storage": ["1", "1"]}


def test_json_says_the_same_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("show", str(file), "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["answers"], document["redacted"], document["compressed_bytes"]) == (6, False, file.stat().st_size)
    assert document["missing"][0]["reason"] == "SOURCE_ABSENT"
    assert document["sha256"] == json.loads(bundle_lines(read_bundle(file))[-1])["sha256"]


def test_one_raw_answer_is_printed_as_it_came(file: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert code("show", str(file), "--answer", "/proc/PID/stat") == 0
    assert capsysbinary.readouterr().out == b"sec\xffond"
    assert code("show", str(file), "--answer", "/proc/PID/stat", "--number", "1") == 0
    assert capsysbinary.readouterr().out == b"first"
    assert code("show", str(file), "--answer", "http:/metrics") == 0
    assert capsysbinary.readouterr().out == b"{}"


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["--answer", "/nothing"], 3, "has no answer '/nothing'; it has target, /proc/PID/stat"),
        (["--answer", "/proc/PID/stat", "--number", "3"], 3, "give --number 1 to 2"),
        (["--answer", "storage/device"], 3, "has no text"),
        (["--number", "3"], 2, "give --answer NAME as well"),
    ],
)
def test_what_is_not_there_is_said(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: int, message: str
) -> None:
    assert code("show", str(file), *arguments) == expected
    assert message in capsys.readouterr().err


def test_check_compares_with_what_collecting_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("check", str(file)) == 0
    digest = capsys.readouterr().out.split()[-1]
    assert code("check", str(file), "--sha256", digest.upper()) == 0
    assert code("check", str(file), "--sha256", "0" * 64) == 3
    assert "whole, but not what was collected" in capsys.readouterr().err


def test_a_changed_bundle_is_found_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = bundle_lines(read_bundle(file))
    changed = [line.replace(b'"first"', b'"worst"') for line in lines]
    assert changed != lines
    file.write_bytes(packed(changed))
    assert code("check", str(file)) == 3
    assert "does not match its checksum" in capsys.readouterr().err


def test_redacted_labels_are_those_whose_whole_name_matches(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.bundle"
    assert code("redact", str(file), "-o", str(out), "--redact-label", "tenant.*", "--redact-label", "shard") == 0
    said = read_bundle(out).of("exposition")[0].body or ""
    assert "acme" not in said
    assert '"7"' not in said
    assert 'region="north"' in said
    values = [part.split('"')[1] for part in said.split(",")]
    assert values[0] == values[1], "one value has one pseudonym"
    again = tmp_path / "again.bundle"
    assert code("redact", str(out), "-o", str(again), "--redact-label", "region") == 0
    assert "north" not in (read_bundle(again).of("exposition")[0].body or "")
    assert values[0] in (read_bundle(again).of("exposition")[0].body or ""), "a pseudonym stands for itself"


@pytest.mark.parametrize("pattern", ["(", "", "*", "x" * 500])
def test_a_pattern_that_is_none_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str
) -> None:
    assert code("redact", str(file), "-o", str(tmp_path / "out"), "--redact-label", pattern) == 2
    assert "is no pattern for names of labels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_redacting_does_not_take_the_place_of_what_it_reads(file: Path) -> None:
    before = file.read_bytes()
    assert code("redact", str(file), "-o", str(file)) == 2
    assert file.read_bytes() == before


def test_secrets_go_whoever_put_them_there(tmp_path: Path) -> None:
    bodies = {
        "config": '[server]\napi_key = "s3cr3t"\n',
        "http": '{"dsn": "postgres://u:s3cr3t@db1/x", "note": "password=s3cr3t"}',
        "exposition": 'x{auth="Bearer s3cr3ts3cr3t"} 1\n',
        "process": "engram\0--token\0s3cr3t\0",
    }
    path = tmp_path / "old.bundle"
    write_bundle(path, Bundle(1.0, answers=tuple(Answer(one, one, 1.0, "h", text) for one, text in bodies.items())))
    assert code("redact", str(path), "-o", str(tmp_path / "new.bundle")) == 0
    assert "s3cr3t" not in "".join(one.body or "" for one in read_bundle(tmp_path / "new.bundle").answers)


def test_the_example_can_be_looked_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "example.bundle"
    write_bundle(path, example_incident())
    assert code("show", str(path)) == 0
    assert "prometheus" in capsys.readouterr().out


def test_no_bundle_is_an_error_with_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("hello\n")
    for words in (["show"], ["check"]):
        assert code(*words, str(tmp_path / "x")) == 3
        assert "give a file that `engram-diagnose collect` wrote" in capsys.readouterr().err
