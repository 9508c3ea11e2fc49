"""
What of the guide's dialect the lab has no figure for.
"""

from typing import Final

NOT_KNOWN_TO_THE_LAB: Final = {
    "activation.fallback_rate": "the lab has nothing to fall back to",
    "activation.budget_violation_rate": "the lab sets activations no budget of time",
    "activation.breaker_state": "the lab has no circuit breaker",
    "activation.pool_utilisation": "the lab's records come from no pool",
    "activation.pool_hit_ratio": "the lab's records come from no pool",
    "server.up": "Prometheus makes that metric as it scrapes",
}
"""Facts of the dialect that no scrape of the lab can tell, and why."""
