"""Killed at any instant, whoever accepts or diagnoses: what was acknowledged is there, and nothing is there by half."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_alerts import DOCUMENT, T0

from engram_diagnose.history.incidents import Search, open_incidents

ACCEPTOR = """
import itertools, os, sys, threading
from pathlib import Path
from made_alerts import GROUPING, alert, told
from engram_diagnose.history.incidents import open_incidents
from engram_diagnose.service.commit import GroupCommit

path, round_ = Path(sys.argv[1]), sys.argv[2]
commit = GroupCommit(lambda: open_incidents(path), GROUPING)
commit.start()

def send(sender):
    for number in itertools.count():
        name, instance = f"{round_}.{sender}.{number}", f"db{round_}.{number % 50}"
        commit.submit(told(alert(name, instance=instance, starts=number)), 1.79e9).result()
        os.write(1, f"{name}\\n".encode())
        if number % 3 == 0:
            commit.submit(told(alert(name, instance=instance, status="resolved", starts=number, ends=number + 9)),
                          1.79e9).result()
            os.write(1, f"{name} resolved\\n".encode())

for sender in range(8):
    threading.Thread(target=send, args=(sender,)).start()
"""

DIAGNOSER = """
import os, sys, time
from pathlib import Path
from made_alerts import DOCUMENT, found
from engram_diagnose.history.incidents import NewMessage, open_incidents

store = open_incidents(Path(sys.argv[1]))
store.reclaim(1.79e9)
while True:
    taken = store.take_job(2e9)
    if taken is None:
        time.sleep(0.001)
        continue
    job, incident = taken
    message = NewMessage("webhook", incident.id, f"{incident.id}/finding", {}, 0)
    if store.finish(incident.id, job.token, found(incident.id), DOCUMENT, os.urandom(50_000), [message], 1.79e9):
        os.write(1, f"{incident.id}\\n".encode())
"""

MAKING = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "making")}


class Process:
    """A process whose acknowledgements are lines in a file, which outlive it."""

    def __init__(self, script: str, database: Path, round_: int, said: Path) -> None:
        self._said = said
        with said.open("wb") as output:
            command = [sys.executable, "-c", script, str(database), str(round_)]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, env=MAKING)

    def wait_for_the_first_line(self) -> None:
        until = time.monotonic() + 30
        while not self._said.stat().st_size:
            assert self._process.poll() is None, self._process.communicate()[1].decode()
            assert time.monotonic() < until
            time.sleep(0.001)

    def kill(self) -> list[str]:
        """What it had acknowledged; a line that was cut off was not."""
        self._process.send_signal(signal.SIGKILL)
        _, problems = self._process.communicate()
        assert not problems.decode()
        return self._said.read_text().split("\n")[:-1]


def pauses(rounds: int) -> Iterator[float]:
    return (0.001 + 0.007 * (number * 7 % rounds) for number in range(rounds))


@pytest.mark.parametrize("rounds", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_any_instant_nothing_acknowledged_is_missing(database: Path, tmp_path: Path, rounds: int) -> None:
    acknowledged: list[str] = []
    finished: list[str] = []
    for round_, pause in enumerate(pauses(rounds)):
        acceptor = Process(ACCEPTOR, database, round_, tmp_path / "acceptor")
        acceptor.wait_for_the_first_line()
        diagnoser = Process(DIAGNOSER, database, round_, tmp_path / "diagnoser")
        diagnoser.wait_for_the_first_line()
        time.sleep(pause)
        if round_ % 2:
            acknowledged += acceptor.kill()
            finished += diagnoser.kill()
        else:
            finished += diagnoser.kill()
            acknowledged += acceptor.kill()
    assert not [id for id, times in Counter(finished).items() if times > 1]
    with open_incidents(database) as store:
        assert store.check() == ()
        known = dict(store._database.connection.execute("SELECT name, status FROM alerts").fetchall())
        missing = [line for line in acknowledged if line.split()[0] not in known]
        unresolved = [line for line in acknowledged if line.endswith(" resolved") and known[line[:-9]] != "resolved"]
        assert (missing, unresolved) == ([], [])
        for id in finished:
            assert store.document(id) == DOCUMENT
            assert len(store.bundle(id) or b"") == 50_000
        counts = store.counts()
        assert counts.done == counts.pending >= len(finished)
        assert counts.running <= 1
        store.reclaim(T0)
        assert store.counts().running == 0
        assert len(store.search(Search(limit=500)).items) > 0
