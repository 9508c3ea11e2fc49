"""The pages about tuning: every command runs as it is written, and what they show is what comes out."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Scraper, folder_on_disk, planted, prometheus
from transcript import Shell, Step, shows, steps

from engram_diagnose.incidents import save_example

PAGES = ("howto/tune-configuration.md", "howto/optimize-resource-usage.md", "operations/performance-tuning.md")
MAY_LACK = ("jq", "patch")
"""What a reader has and a test machine may not."""
ENOUGH = 20
"""Samples, at one a second, of which a comparison has something to say."""
ANSWERS = {0, 1, 4}
"""Done, findings or worse, and nothing could be tested: what a command may say of a server nobody knows."""


def text_of(root: Path, page: str) -> str:
    return (root / "docs" / page).read_text(encoding="utf-8")


def lacks(step: Step) -> bool:
    return any(shutil.which(name) is None for name in MAY_LACK if re.search(rf"^{name} ", step.commands, re.MULTILINE))


# --- The commands ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_works_in_order_and_prints_what_the_page_shows(root: Path, page: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for step in steps(text_of(root, page)):
        if step.needs_server or lacks(step):
            continue
        code, out = shell.run(step.commands)
        assert code == step.code, f"line {step.line}: {step.commands}\n{out}"
        assert step.shown is None or shows(step.shown, out), f"line {step.line}: {step.commands}\n{out}"


@pytest.fixture(scope="module")
def scraper() -> Iterator[Scraper]:
    """A Prometheus that scrapes a slow server by the name that the pages give it."""
    with (
        folder_on_disk() as folder,
        planted(folder / "server") as server,
        prometheus(folder / "prometheus", {"engram-7:7432": server.instance}) as scraper,
    ):
        yield scraper


def wait_for_more(scraper: Scraper) -> None:
    """Wait while the server goes on working."""
    metric, instance = "engram_wal_bytes_written_total", "engram-7:7432"
    there = scraper.value(f'count_over_time({metric}{{instance="{instance}"}}[10m])') or 0
    scraper.wait_for(metric, instance=instance, samples=int(there) + ENOUGH)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if "optimize" not in page])
def test_every_command_for_a_server_works_on_one(root: Path, page: str, scraper: Scraper, tmp_path: Path) -> None:
    save_example(tmp_path)
    shell = Shell(tmp_path)
    found = [step for step in steps(text_of(root, page)) if step.needs_server]
    assert len(found) > 1
    for step in found:
        if step is found[0] or "after.bundle" in step.commands:
            wait_for_more(scraper)
        code, out = shell.run(step.commands.replace("http://prometheus.example:9090", scraper.url))
        assert code in ANSWERS, f"line {step.line}: {step.commands}\n{out}"
        assert "Traceback" not in out


def test_a_step_is_a_block_with_what_comes_out_of_it() -> None:
    page = (
        "```sh\na\n```\n\n```text\nx\n(exit code 2)\n```\n"
        "- b\n\n  ```sh\n  c --at d.example\n  ```\n\nwords\n\n```text\ny\n```\n"
    )
    first, second = steps(page)
    assert (first.commands, first.shown, first.code, first.needs_server) == ("a\n", "x\n", 2, False)
    assert (second.commands, second.shown, second.code, second.needs_server) == ("c --at d.example\n", None, 0, True)


@pytest.mark.parametrize(
    ("shown", "came_out", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a\nc\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_an_ellipsis_stands_for_text_and_nothing_else_does(shown: str, came_out: str, same: bool) -> None:
    assert shows(shown, came_out) is same


# --- What they say --------------------------------------------------------------------------------


def test_every_refusal_that_the_page_lists_is_one_the_tool_knows(root: Path) -> None:
    table = text_of(root, PAGES[0]).partition("## When it refuses")[2]
    listed = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(listed) > 6
    source = "\n".join(path.read_text(encoding="utf-8") for path in (root / "src" / "engram_diagnose").rglob("*.py"))
    said = re.sub(r'"\s+f?"', "", re.sub(r"\{[^{}\n]*\}", "", source))
    for words in listed:
        for part in re.split("…|[0-9]+", words):
            assert part.strip() in said, words


@pytest.mark.parametrize("page", PAGES)
def test_every_piece_of_configuration_on_a_page_is_toml(root: Path, page: str) -> None:
    for text in re.findall(r"```toml\n(.*?)```", text_of(root, page), re.DOTALL):
        tomllib.loads(text)
