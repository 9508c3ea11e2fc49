"""
Metrics: reading them from a text exposition, and having facts of them from Prometheus.
"""

import exposition
import prometheus_facts
from outcome import Outcome


def run(*, quick: bool = False) -> list[Outcome]:
    """Both."""
    return [*exposition.run(quick=quick), *prometheus_facts.run(quick=quick)]
