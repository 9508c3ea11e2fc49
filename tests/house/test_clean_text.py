"""No file of the repository leads to the machine it was written on."""

import os
import re
from pathlib import Path

# Written in pieces, since this file is one of those that are read.
FOLDERS = ("work", "root", "farm")
HOSTS = (
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("deb.", "debian.org"),
    ("security.", "debian.org"),
    ("registry.", "npmjs.org"),
    ("proxy.", "golang.org"),
    ("repo1.", "maven.org"),
    ("static.", "crates.io"),
)
OF_A_MACHINE = re.compile(rf"(?<![\w.~-])/(?:{'|'.join(FOLDERS)})/".encode())
REGISTRY = re.compile("|".join(re.escape("".join(parts)) for parts in HOSTS).encode())


def places(pattern: re.Pattern[bytes], root: Path, names: list[str]) -> list[str]:
    """Each line that matches, as `file:line`; a link is read as where it points to."""
    found = []
    for name in names:
        path = root / name
        text = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found += [f"{name}:{number}" for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


def test_no_file_names_a_path_of_the_machine_it_was_written_on(root: Path, source_files: list[str]) -> None:
    assert places(OF_A_MACHINE, root, source_files) == []


def test_no_file_names_the_host_of_a_package_registry(root: Path, source_files: list[str]) -> None:
    assert places(REGISTRY, root, source_files) == []


def test_the_search_finds_what_it_is_there_for(tmp_path: Path) -> None:
    path, host = "/".join(["", FOLDERS[0], "x"]), "".join(HOSTS[0])
    (tmp_path / "page.md").write_text(f"fine\nsee {path}\nfrom https://{host}/x\nframe{path}\n")
    assert places(OF_A_MACHINE, tmp_path, ["page.md"]) == ["page.md:2"]
    assert places(REGISTRY, tmp_path, ["page.md"]) == ["page.md:3"]
