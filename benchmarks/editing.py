"""
Editing a configuration of some megabytes: this tool beside tomlkit alone, doing the same to the same file.
"""

from functools import partial

import tomlkit
from measure import interleaved
from outcome import Outcome, compared

from engram_diagnose.patch.edit import Assignment, edited

TABLES = 4_000
"""About 0.4 MB. tomlkit's time grows with the file, and 10 MB would take it half a minute each time."""
BAR = 0.5


def run(*, quick: bool = False) -> list[Outcome]:
    """Change two keys of a long file, and hold the result against tomlkit's."""
    content = made(TABLES // 20 if quick else TABLES)
    assignments = [Assignment("wal.sync_mode", "batch"), Assignment("wal.flush_interval_ms", 1000)]
    ours, theirs = partial(edited, content, assignments, name="engram.toml"), partial(by_tomlkit, content)
    if ours() != theirs():
        raise AssertionError("the two do not come to the same file")
    times = interleaved({"ours": ours, "tomlkit": theirs}, repetitions=3 if quick else 7, warm_up=1)
    size = f"{len(content) / 1e6:.1f} MB"
    return [compared("editing", f"two keys of {size}", times["ours"], "tomlkit alone", times["tomlkit"], bar=BAR)]


def made(tables: int) -> bytes:
    """A configuration with many tables of somebody else's, and ours in the middle."""
    others = [f'# number {n}\n[space.s{n}]\nquota = {n}\nname = "a{n}" # kept\n\n' for n in range(tables)]
    wal = '[wal]\nsync_mode = "immediate" # safe\nflush_interval_ms = 10\n\n'
    middle = tables // 2
    return "".join([*others[:middle], wal, *others[middle:]]).encode()


def by_tomlkit(content: bytes) -> bytes:
    """The same edit, the whole file given to tomlkit."""
    document = tomlkit.parse(content.decode())
    table = document["wal"]
    table["sync_mode"] = "batch"  # type: ignore[index]
    table["flush_interval_ms"] = 1000  # type: ignore[index]
    return tomlkit.dumps(document).encode()
