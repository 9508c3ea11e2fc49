"""The pages say what is there: the two commands work as written, and no link leads nowhere."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

COMMANDS = ("demo", "test")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page offers, as GitHub makes them from its headings."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def broken_links(page: Path) -> list[str]:
    """The relative links of a page whose file or anchor does not exist."""
    return [target for target in LINK.findall(CODE.sub("", prose(page))) if is_broken(page, target)]


def is_broken(page: Path, target: str) -> bool:
    if ELSEWHERE.match(target):
        return False
    name, _, anchor = unquote(target).partition("#")
    file = page.parent / name if name else page
    if not file.exists():
        return True
    return bool(anchor) and file.suffix == ".md" and anchor not in anchors(file)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_and_the_script_name_the_same_command(root: Path, command: str) -> None:
    usage = subprocess.run(
        [sys.executable, "dev.py", "--help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    line = f"python3 dev.py {command}"
    assert line in (root / "README.md").read_text(encoding="utf-8")
    assert line in usage


def test_every_relative_link_of_every_page_leads_somewhere(root: Path, source_files: list[str]) -> None:
    pages = [name for name in source_files if name.endswith(".md")]
    broken = {name: found for name in pages if (found := broken_links(root / name))}
    assert broken == {}


def test_a_link_to_a_missing_page_or_heading_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`: three\n[a](#one-two-three) [b](page.md) [c](https://x.example/y)\n"
        "[d](gone.md) [e](page.md#gone) `[f](code.md)`\n```\n[g](code.md)\n```\n"
    )
    assert broken_links(page) == ["gone.md", "page.md#gone"]
