#!/usr/bin/env python3
"""
Puts what `bench` measured of the lab into the page on performance baselines.

    python benchmarks/baselines.py REPORT.json ... > docs/reference/measured-on-the-lab.json

Reports are those of `engram-diagnose bench --format json`; of each figure the last that is given counts. Afterwards
`engram-diagnose rules docs docs/reference` writes the page.
"""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engram_diagnose.bench.document import ReportError, read_report
from engram_diagnose.reference.measured_baselines import measured_document


def main(names: Sequence[str]) -> int:
    """Print the document; 2 for a report that cannot be read."""
    if not names:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        reports = [read_report(name, Path(name).read_bytes()) for name in names]
    except (OSError, ReportError) as error:
        print(error, file=sys.stderr)
        return 2
    what = "; ".join(dict.fromkeys(f"{_memories(one):,} memories, {one['tool']}" for one in reports))
    print(json.dumps(measured_document(reports, what=what, host=_host()), indent=2))
    return 0


def _memories(report: dict[str, Any]) -> int:
    """How many there were while latencies were measured, else at the end."""
    runs = report["benchmark"]["runs"]
    mixed = [run for run in runs if run["workload"]["name"] == "mixed"]
    return max(run["workload"]["dataset"]["memories"] for run in mixed or runs)


def _host() -> str:
    """The CPU and how many of it; no name of a machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPUs of an {' '.join(model.split())}, clients and server together"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
