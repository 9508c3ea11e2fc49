"""Diagnoses for a worker under test: what becomes of an incident stands in its instance's name."""

import os
import time

from engram_diagnose.engine.diagnosis import Expert
from engram_diagnose.history.model import Finding, Incident
from engram_diagnose.service.diagnose import Diagnosed, Retry, diagnose_incident
from engram_diagnose.service.settings import Settings


def planted(incident: Incident, settings: Settings, expert: Expert, *, now: float, last: bool) -> Diagnosed:
    kind = incident.instance.partition("-")[0]
    if kind == "real":
        return diagnose_incident(incident, settings, expert, now=now, last=last)
    if kind == "crash":
        os.abort()
    if kind == "hang":
        time.sleep(3600)
    if kind == "bomb":
        hoard = []
        while True:
            hoard.append(bytearray(16 << 20))
    if kind == "broken":
        raise KeyError("a slip in a rule")
    if kind == "later" and not last:
        raise Retry("Prometheus is starting")
    if kind == "unspeakable":
        return Diagnosed(Finding(incident.id, now, "met", "", "NaN"), {"figure": float("nan")}, b"")
    if kind == "slow":
        time.sleep(0.3)
    if kind == "brief":
        time.sleep(0.02)
    finding = Finding(incident.id, now, "met", "", f"diagnosed by process {os.getpid()}", rule="test.rule")
    return Diagnosed(finding, {"process": os.getpid()}, incident.id.encode())


NAME = "planted_diagnoses:planted"
