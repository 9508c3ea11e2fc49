"""Measuring in a fraction of a second: the limits turned down by a rule pack, as a site could."""

import re
from pathlib import Path

LIMITS = Path(__file__).parents[2] / "rules" / "catalogue" / "kernels.yaml"
TINY = {
    "repeats": "3", "figure_seconds": "1ms", "most_memory": "8MiB", "gate_watch": "20ms", "gap_watch": "9ms",
    "frequency_watch": "9ms", "ladder_seconds": "1ms", "locks_seconds": "3ms", "cores_seconds": "6ms",
    "wal_seconds": "30ms", "wal_longest": "300ms", "walk_size": "4MiB", "walk_seconds": "1ms",
}  # fmt: skip
"""What these figures say is worth nothing; that they are there is what tests ask."""


def tiny_pack(folder: Path, **further: str) -> Path:
    """The limits as a pack of one file, and `further` ones by name."""
    text = LIMITS.read_text(encoding="utf-8")
    for name, figure in (TINY | further).items():
        text, count = re.subn(rf"(?m)^(  {name}:\n    is: ).*$", rf"\g<1>{figure}", text)
        assert count == 1, name
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path
