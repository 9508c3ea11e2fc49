"""What tests of the service's processes share: alerts to accept, and waiting for what has to happen."""

import time
from collections.abc import Callable

from engram_diagnose.history.incidents import Grouping, IncidentStore
from engram_diagnose.history.model import Alert, Notification

GROUPING = Grouping((), 600.0)


def notification(instance: str, name: str = "WALLagHigh", *, at: float | None = None) -> Notification:
    labels = {"alertname": name, "instance": instance, "severity": "warning"}
    return Notification((Alert(f"{name} {instance}", "firing", labels, {}, time.time() if at is None else at),))


def accept(store: IncidentStore, *instances: str) -> list[str]:
    """One incident for each instance."""
    found = [store.accept(notification(instance), time.time(), GROUPING) for instance in instances]
    return [incident for accepted in found for incident in accepted.incidents]


def until(happens: Callable[[], object], what: str, *, seconds: float = 20) -> None:
    """Wait for something, or raise `TimeoutError` that says what for."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)
