"""The command as an operator types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_latencies import Made, bundle_of, steady

from engram_diagnose.cli import group
from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.engine.comparison.ranks import rank_correlation
from engram_diagnose.incidents import example_incident
from engram_diagnose.render.slow_queries import render_slow_queries, slow_queries_markdown


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["slow-queries", *arguments])


def saved(folder: Path, bundle: Bundle) -> str:
    path = folder / "hour.bundle"
    write_bundle(path, bundle)
    return str(path)


@pytest.fixture
def slow(tmp_path):
    return saved(tmp_path, bundle_of(Made("recall", "acme", steady(0.03)), Made("store", "acme")))


def test_something_slow_is_exit_code_1_and_nothing_slow_is_0(slow):
    found = run("--bundle", slow)
    assert (found.exit_code, found.output.splitlines()[0]) == (1, "1 operation over 10 ms (P99 of 1 h)  db1:7432")
    within = run("--bundle", slow, "--over", "50ms")
    assert within.exit_code == 0
    assert "Nothing over 50 ms (P99 of 1 h): 2 operations looked at" in within.output


def test_no_latency_is_exit_code_4(tmp_path):
    assert run("--bundle", saved(tmp_path, bundle_of())).exit_code == 4


@pytest.mark.parametrize("limit", ["10", "0ms", "10MB", "-5ms", "quick", "2h"])
def test_a_limit_that_is_no_latency_is_refused_with_what_to_write(slow, limit):
    found = run("--bundle", slow, "--over", limit)
    assert found.exit_code == 2
    assert "write 10ms" in found.output


@pytest.mark.parametrize("since", ["1m", "30d"])
def test_a_look_back_that_is_too_short_or_too_long_is_refused_with_its_bounds(since):
    found = run("--since", since, "--prometheus", "http://127.0.0.1:9")
    assert found.exit_code == 2
    assert "--since goes from 5 min to 1 d" in found.output


def test_what_belongs_to_collecting_is_refused_beside_a_bundle(slow):
    found = run("--bundle", slow, "--since", "1h")
    assert found.exit_code == 2
    assert "--since" in found.output


def test_json_and_markdown_say_the_same(slow):
    document = json.loads(run("--bundle", slow, "--format", "json").output)
    assert [one["operation"] for one in document["slow"]] == ["recall"]
    assert "## recall in acme" in run("--bundle", slow, "--format", "markdown").output


def test_causes_that_are_unlikely_whatever_is_unknown_are_named_and_no_more(slow, tmp_path):
    document = json.loads(run("--bundle", slow, "--format", "json").output)
    example = saved(tmp_path, example_incident())
    found = json.loads(CliRunner().invoke(group, ["run", "--bundle", example, "--format", "json"]).stdout)["causes"]
    first, guess, other = found[0], found[1] | {"negligible": True}, found[2] | {"negligible": False}
    document["slow"][0]["causes"] = [first, guess, other]
    text = " ".join(render_slow_queries(document, console_width=100).split())
    assert first["title"] in text
    assert other["title"] in text
    assert guess["title"] not in text
    assert f"and 1 further cause: {guess['rule']}" in text
    assert guess["title"] not in slow_queries_markdown(document)


def test_a_broken_bundle_is_said_with_the_next_step(tmp_path):
    path = tmp_path / "broken.bundle"
    path.write_bytes(b"\x1f\x8bnothing")
    found = run("--bundle", str(path))
    assert found.exit_code != 0
    assert "Traceback" not in found.output


def test_ranks_correlate_as_the_formula_says():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(0.8660254)
    assert rank_correlation([1, 1], [1, 2]) is None
    with pytest.raises(ValueError, match="cannot be paired"):
        rank_correlation([1], [1, 2])
