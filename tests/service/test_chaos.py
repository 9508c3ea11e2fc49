"""Killed again and again, the service loses no alert that it acknowledged and diagnoses no incident twice."""

import chaos
import pytest


@pytest.mark.slow
def test_no_alert_is_lost_and_no_incident_is_diagnosed_twice_whatever_is_killed() -> None:
    outcome = chaos.run(40, seed=20_261_122)
    print(outcome)
    assert outcome.rounds == 40
    assert outcome.servers_killed
    assert outcome.workers_killed
    assert outcome.amid_a_diagnosis
    assert outcome.acknowledged > 20
    assert outcome.lost == []
    assert outcome.wrong == []
    assert outcome.diagnosed + outcome.parked == outcome.incidents
