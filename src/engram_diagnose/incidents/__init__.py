"""
Incidents that come with the tool, so that a diagnosis can be seen without a server at hand.

Each is a bundle that was collected from a running process, a real Prometheus and an endpoint with a planted
fault, by `tests/end_to_end/record.py`.
"""

from importlib import resources

from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.collectors.bundle_format import Bundle

EXAMPLE = "wal-write-amplification.bundle"


def example_incident() -> Bundle:
    """The incident that `demo` diagnoses: a log that is flushed on every write."""
    return read_bundle((resources.files("engram_diagnose") / "incidents" / EXAMPLE).read_bytes())
