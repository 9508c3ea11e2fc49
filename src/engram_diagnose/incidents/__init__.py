"""
Incidents that come with the tool, so that a diagnosis can be seen without a server at hand.

Each is a bundle that was collected from a running process, a real Prometheus and an endpoint with a planted
fault, by `tests/end_to_end/record.py`.
"""

import errno
from importlib import resources
from pathlib import Path

from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.collectors.bundle_format import Bundle

EXAMPLE = "wal-write-amplification.bundle"


def example_incident() -> Bundle:
    """The incident that `demo` diagnoses: a log that is flushed on every write."""
    return read_bundle((resources.files("engram_diagnose") / "incidents" / EXAMPLE).read_bytes())


def save_example(folder: Path) -> list[Path]:
    """
    Write the example incident into a folder: its bundle, and its server's configuration as the bundle holds it.

    Raises `FileExistsError` rather than writing over something else, and `OSError`; then nothing was written.
    """
    incident = example_incident()
    made = {
        folder / "incident.bundle": (resources.files("engram_diagnose") / "incidents" / EXAMPLE).read_bytes(),
        folder / "engram.toml": (incident.of("config")[0].body or "").encode("utf-8"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in made.items():
        if path.exists() and path.read_bytes() != content:
            raise FileExistsError(errno.EEXIST, "there is something else of that name", str(path))
    for path, content in made.items():
        path.write_bytes(content)
    return list(made)
