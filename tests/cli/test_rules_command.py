"""`rules` names every mistake, runs the tests, lists, shows and documents the rule base."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from engram_diagnose.cli import main
from engram_diagnose.rulebase import builtin_files, load_rules
from engram_diagnose.rulecheck import parsed, second_opinion

PACK = """\
schema: engram-diagnose/rules/v1
pack: site.fra1
"""

RULE = """\
rules:
  - id: site.fra1.busy-disk
    rev: 1
    kind: cause
    title: {title}
    owner: team-storage
    when: any(device, disk.util_share > 70%)
    when_true: possible
    explains: [symptom.store-slow]
    given: {{"disk.util_share{{device=sda}}": 90%}}
    tests:
      - {test}
"""


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `engram-diagnose rules …` on a terminal of eighty columns, without settings of this machine."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")
    monkeypatch.delenv("ENGRAM_DIAGNOSE_RULES", raising=False)

    def command(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as left:
            main(["rules", *map(str, arguments)])
        code = left.value.code
        said = capsys.readouterr()
        return Done(code if isinstance(code, int) else 0, said.out, said.err)

    return command


def pack(folder: Path, text: str) -> Path:
    """A rule pack of one file; its overrides expect the revisions that there are now."""
    rules = load_rules().rules.rules if "expect_rev" in text else {}

    def current(match: re.Match[str]) -> str:
        return f"{match[1]}{rules[match[2]].rev}"

    text = re.sub(r"(rule: (\S+)\n +expect_rev: )now", current, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checks.yaml").write_text(PACK + text, encoding="utf-8")
    return folder


# --- check ----------------------------------------------------------------------------------------


def test_check_says_that_the_shipped_rules_are_sound(run: Run) -> None:
    done = run("check")
    assert done.code == 0
    assert re.fullmatch(r"\d+ rules, \d+ facts: 0 errors, 0 warnings\n", done.out)


def test_check_prints_every_mistake_with_its_place_a_caret_and_a_hint(run: Run, tmp_path: Path) -> None:
    text = RULE.format(title="x", test="fires").replace("disk.util_share > 70%", "disk.util_shar > 250ms")
    done = run("check", "--rules", pack(tmp_path, text + "    severity: dire\n    severity: info\n"))
    assert done.code == 2
    lines = done.out.splitlines()
    at = next(number for number, line in enumerate(lines) if "unknown fact disk.util_shar" in line)
    assert lines[at].startswith(f"{tmp_path}/checks.yaml:9:23: error:")
    assert lines[at + 1].endswith("when: any(device, disk.util_shar > 250ms)")
    assert lines[at + 2].endswith("| " + " " * 22 + "^" * len("disk.util_shar"))
    assert "did you mean disk.util_share" in lines[at + 3]
    assert "duplicate key 'severity'" in done.out
    assert lines[-1].endswith("errors, 0 warnings")


def test_check_gives_the_same_problems_as_json(run: Run, tmp_path: Path) -> None:
    text = RULE.format(title="x", test="fires").replace("disk.util_share > 70%", "disk.util_shar > 70%")
    done = run("check", "--format", "json", "--rules", pack(tmp_path, text))
    document = json.loads(done.out)
    assert done.code == 2
    assert document["errors"] == len(document["problems"]) > 0
    assert document["rules"] is None
    assert document["problems"][0]["line"] == 9
    assert document["problems"][0]["hint"].startswith("did you mean")


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("prometheus: topk(3, node_load1)", 17),
        ("prometheus: node_load1 / absent_over_time(x[5m])", 30),
        ("prometheus: rate(x[5m]", 27),
        ("prometheus: node_load1[5m]", 17),
        ('prometheus_label: {series: "vector(1) or up", label: role}', 33),
    ],
)
def test_promql_that_is_not_understood_is_an_error_at_its_place(
    run: Run, tmp_path: Path, written: str, column: int
) -> None:
    facts = f"facts:\n  site.load:\n    unit: ratio\n    doc: load\n    {written}\n"
    done = run("check", "--rules", pack(tmp_path, facts))
    assert done.code == 2
    assert f"checks.yaml:7:{column}: error: site.load cannot be evaluated: " in done.out
    assert "recording rule" in done.out


def test_promql_with_the_window_placeholder_is_understood(run: Run, tmp_path: Path) -> None:
    facts = "facts:\n  site.load:\n    unit: ratio\n    doc: load\n    prometheus: avg(rate(x_total[$window]))\n"
    assert run("check", "--rules", pack(tmp_path, facts)).code == 0


def test_every_pack_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("check", "--rules", tmp_path / "gone", "--rules", empty)
    assert done.code == 2
    assert f"{tmp_path / 'gone'}:1:1: error: cannot read the rule pack" in done.out
    assert "holds no .yaml file" in done.out


def test_a_warning_fails_only_a_strict_check(run: Run, tmp_path: Path) -> None:
    expired = """\
overrides:
  - rule: storage.wal-write-amplification
    expect_rev: now
    reason: it was so
    owner: team-storage
    expires: 2001-01-01
    set: {severity: info}
"""
    folder = pack(tmp_path, expired)
    done = run("check", "--rules", folder)
    assert (done.code, "1 warning" in done.out) == (0, True)
    assert "expired on 2001-01-01" in done.out
    assert run("check", "--strict", "--rules", folder).code == 2


def test_the_schema_of_editors_has_nothing_against_the_shipped_rules() -> None:
    texts = {name: data.decode() for name, data in builtin_files().items()}
    doubts = [problem for root in parsed(texts) for problem in second_opinion(root)]
    assert len(texts) > 20
    assert [str(problem) for problem in doubts] == []


def test_what_loading_lets_pass_and_the_schema_does_not_is_a_warning() -> None:
    text = PACK + RULE.format(title="x", test="fires") + "    flavour: sweet\n"
    doubts = [problem for root in parsed({"checks.yaml": text}) for problem in second_opinion(root)]
    assert [(problem.severity, problem.mark.line) for problem in doubts] == [("warning", 15)]


def test_a_mistake_is_not_reported_twice(run: Run, tmp_path: Path) -> None:
    done = run("check", "--rules", pack(tmp_path, RULE.format(title="x", test="fires") + "    flavour: sweet\n"))
    assert done.out.count("flavour: sweet") == 1
    assert done.out.endswith("1 error, 0 warnings\n")


# --- test -----------------------------------------------------------------------------------------


def test_every_test_of_the_shipped_rules_passes(run: Run) -> None:
    done = run("test")
    assert re.search(r"^\d{3,} tests of \d{3} rules, 0 failed", done.out, re.MULTILINE)


def test_only_the_rules_that_were_named_are_tested(run: Run) -> None:
    done = run("test", "storage.wal-write-amplification", "symptom.store-slow")
    assert re.fullmatch(r"\d+ tests of 2 rules, 0 failed\n", done.out)
    assert done.code == 0


def test_a_name_that_no_rule_has_is_refused_with_the_nearest(run: Run) -> None:
    done = run("test", "storage.wal-write-amplificatoin")
    assert done.code == 2
    assert "did you mean storage.wal-write-amplification" in done.err


def test_a_test_that_fails_is_shown_with_its_place(run: Run, tmp_path: Path) -> None:
    done = run("test", "--rules", pack(tmp_path, RULE.format(title="x", test="refuted")), "site.fra1.busy-disk")
    assert done.code == 1
    assert re.search(r"checks\.yaml:14:9: site\.fra1\.busy-disk: refuted: as given", done.out)
    assert "expected refuted, came out fires" in done.out
    assert "1 failed" in done.out


def test_rules_with_errors_are_not_tested(run: Run, tmp_path: Path) -> None:
    done = run("test", "--rules", pack(tmp_path, "rules: [nothing]\n"))
    assert done.code == 2
    assert "a rule is a mapping" in done.err


OVERRIDE = """\
overrides:
  - rule: storage.wal-write-amplification
    expect_rev: now
    reason: this file system writes more by itself
    owner: team-storage
    expires: 2999-12-31
    set: {{params.amp_max: 8, severity: info}}
    tests:
      - {{change: {{wal.bytes_written@rate_5m: 60 MB/s}}, expect: {outcome}}}
"""


@pytest.mark.parametrize(("outcome", "code"), [("refuted", 0), ("fires", 1)])
def test_the_tests_of_an_override_are_run(run: Run, tmp_path: Path, outcome: str, code: int) -> None:
    folder = pack(tmp_path, OVERRIDE.format(outcome=outcome))
    assert run("test", "--rules", folder, "storage.wal-write-amplification").code == code


# --- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--facts",), ("--kind", "table"), ("--tag", "wal"), ("disk",)])
def test_lists_fit_eighty_columns(run: Run, arguments: tuple[str, ...]) -> None:
    done = run("list", *arguments)
    assert done.code == 0
    assert len(done.out.splitlines()) > 4
    assert [line for line in done.out.splitlines() if len(line) > 80] == []


def test_a_list_is_narrowed_by_kind_tag_and_word(run: Run) -> None:
    rows = json.loads(run("list", "flush", "--kind", "cause", "--tag", "wal", "--format", "json").out)
    assert [row["id"] for row in rows] == ["storage.wal-buffer-fills", "storage.wal-flush-slow"]


def test_the_list_of_facts_says_unit_scope_origin_and_meaning(run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("list", "--facts", "--format", "json").out)}
    fact = rows["op.latency.p99"]
    assert (fact["unit"], fact["origin"], fact["scope"]) == ("s", "prometheus", ["operation", "space", "hops"])
    assert fact["doc"]
    assert "config.wal.sync_mode" in rows


def test_facts_have_neither_kind_nor_tag(run: Run) -> None:
    assert run("list", "--facts", "--kind", "cause").code == 2


SITE = """\
overrides:
  - rule: storage.wal-write-amplification
    expect_rev: now
    reason: this file system writes more by itself
    owner: team-storage
    expires: 2999-12-31
    set: {params.amp_max: 6}
  - rule: host.huge-pages-off
    expect_rev: now
    reason: the image has no huge pages
    owner: team-storage
    expires: 2999-12-31
    disable: true
suppressions:
  - rule: host.fd-limit
    scope: {instance: "a:1"}
    reason: known
    owner: team-storage
    expires: 2999-12-31
"""


def test_what_a_site_overrides_disables_or_suppresses_is_marked(run: Run, tmp_path: Path) -> None:
    out = run("list", "--rules", pack(tmp_path, SITE)).out
    assert re.search(r"^storage\.wal-write-amplification +cause +warning +overridden$", out, re.MULTILINE)
    assert re.search(r"^host\.huge-pages-off +disabled$", out, re.MULTILINE)
    assert "disabled by site.fra1 (team-storage): the image has no huge pages" in out
    assert re.search(r"^host\.fd-limit +cause +critical +suppressed$", out, re.MULTILINE)


def test_a_title_can_do_nothing_to_the_terminal(run: Run, tmp_path: Path) -> None:
    title = r'"red \e[31m and \u202e back"'
    folder = pack(tmp_path, RULE.format(title=title, test="fires"))
    for out in (run("list", "--rules", folder).out, run("show", "site.fra1.busy-disk", "--rules", folder).out):
        assert "\\x1b[31m" in out
        assert "\x1b" not in out
        assert "\u202e" not in out


# --- show -----------------------------------------------------------------------------------------


def test_a_rule_is_shown_with_everything_it_says(run: Run) -> None:
    out = " ".join(run("show", "storage.wal-write-amplification").out.split())
    for expected in (
        "The WAL writes far more than the clients store",
        "rules/patterns/storage.yaml:",
        "amplification is above 3 ($amp_max)",
        "- amplification > $amp_max",
        "amplification stands for wal.bytes_written@rate_5m / store.bytes@rate_5m",
        "likely (60 %)",
        "io.fsync_wait_share is above 30 % seen: strong; absent: moderate; counts once with: fsync",
        "flush_max value: 5 ms; bounds: 100 µs to 100 ms",
        "explains: symptom.store-slow",
        "these are tested again later: storage.wal-flush-slow",
        "set config.wal.sync_mode = batch, ",
        "lost on power failure",
        "copy-on-write file system",
        "guide: Pattern 4, WAL Write Amplification",
        "without store.bytes@rate_5m: unknown (lacks store.bytes@rate_5m)",
    ):
        assert expected in out


def test_a_symptom_is_shown_with_the_causes_that_explain_it(run: Run) -> None:
    assert "explained by: " in run("show", "symptom.store-slow").out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wal.flush.p99", ("seconds", "histogram_quantile", "read by: ", "storage.wal-flush-slow")),
        ("wal.bytes_written@rate_5m", ("a counter", "bytes")),
        ("disk.util_share", ("this host: read from /proc", "node-exporter: ")),
        ("wal.amplification", ("given by storage.wal-amplification-ratio",)),
        ("config.wal.buffer_size", ("guide: wal.buffer_size_mb in MiB", "next restart", "trade-off", "set by: ")),
        ("target.op.latency.p99", ("floor: at most 50 ms", "target: at most 10 ms")),
    ],
)
def test_facts_settings_and_targets_are_shown(run: Run, name: str, expected: tuple[str, ...]) -> None:
    out = " ".join(run("show", name).out.split())
    assert [text for text in expected if text not in out] == []


@pytest.mark.parametrize(
    ("name", "near"),
    [("storage.wal-write-amplificatoin", "storage.wal-write-amplification"), ("wal.flush.p98", "wal.flush.p99")],
)
def test_an_unknown_name_brings_the_nearest(run: Run, name: str, near: str) -> None:
    done = run("show", name)
    assert done.code == 2
    assert f"did you mean {near}" in done.err


def test_a_disabled_rule_says_who_disabled_it(run: Run, tmp_path: Path) -> None:
    out = run("show", "host.huge-pages-off", "--rules", pack(tmp_path, SITE)).out
    assert "disabled by site.fra1 (team-storage)" in " ".join(out.split())


# --- new ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symptom", "cause", "table", "derive"])
def test_a_new_rule_loads_as_it_is(run: Run, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "new.yaml"
    assert run("new", "site.fra1.mine", "--kind", kind, "--output", file).code == 0
    assert run("check", "--rules", file).code == 0
    assert run("test", "--rules", file, "site.fra1.mine").code == 0


def test_an_id_that_no_rule_can_have_is_refused(run: Run) -> None:
    done = run("new", "Mine")
    assert done.code == 2
    assert "lower case, with at least one dot" in done.err


def test_a_new_rule_never_overwrites_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert run("new", "site.fra1.mine", "--output", file).code == 2
    assert file.read_text() == "mine"


# --- docs and settings ----------------------------------------------------------------------------


def test_pages_are_written_once_and_found_stale_when_they_differ(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    assert run("docs", "--check", folder).code == 1
    assert "pages written" in run("docs", folder).err
    assert run("docs", "--check", folder).code == 0
    (folder / "facts.md").write_text("edited")
    done = run("docs", "--check", folder)
    assert done.code == 1
    assert done.out == f"{folder / 'facts.md'} is stale: run engram-diagnose rules docs {folder}\n"
    assert "1 page written" in run("docs", folder).err


def test_a_folder_that_cannot_be_written_is_a_clear_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run("docs", tmp_path / "file").code == 2


def test_packs_of_the_settings_hold_for_every_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pack(tmp_path / "site", RULE.format(title="Ours", test="fires"))
    settings = tmp_path / "config.toml"
    settings.write_text(f'rules = ["{folder}"]\n')
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", str(settings))
    assert "Ours" in run("show", "site.fra1.busy-disk").out
    assert "1 rule\n" in run("list", "site.fra1").out


def test_packs_of_the_environment_hold_as_well(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_RULES", str(pack(tmp_path, RULE.format(title="Ours", test="fires"))))
    assert "1 rule\n" in run("list", "site.fra1").out
