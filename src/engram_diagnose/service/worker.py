"""
The worker process: takes jobs from the database, diagnoses, and keeps what was found.

Started by `service.supervisor` as `python -m engram_diagnose.service.worker`. It reads its order and then single bytes
from standard input (`service.order`), and prints one JSON object for each event on standard output. All that lasts is
in the database, so that it may be killed at any instant.
"""

import datetime
import gc
import importlib
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeVar

from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.history.incidents import IncidentStore, StoreError, open_incidents
from engram_diagnose.history.model import Incident, Job
from engram_diagnose.rulebase import builtin_files
from engram_diagnose.service.announce import messages_for
from engram_diagnose.service.diagnose import Diagnosed, Retry, diagnose_incident, warm
from engram_diagnose.service.order import ORPHANED, OUT_OF_MEMORY, REFUSED, STORELESS, Order, backoff
from engram_diagnose.service.tether import Tether, cap_memory, tie

_POLL_SECONDS: Final = 1.0
_SIGN_OF_LIFE_SECONDS: Final = 10.0
_STORE_WAITS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0)
_LONGEST_ERROR: Final = 2000

T = TypeVar("T")
Diagnose = Callable[..., Diagnosed]


def main() -> int:
    """Work until the service says otherwise; the exit code."""
    gc.enable()
    tether = tie()
    try:
        return _work(tether, tether.order())
    except EOFError:
        return ORPHANED
    except RuleBaseError as error:
        tether.say("refused", error=str(error)[:_LONGEST_ERROR])
        return REFUSED
    except StoreError as error:
        tether.say("storeless", error=str(error))
        return STORELESS
    except MemoryError:
        tether.say("out of memory")
        return OUT_OF_MEMORY


def _work(tether: Tether, order: Order) -> int:
    cap_memory(order.settings.worker.memory_bytes)
    ready = _expert(order, _today())
    warm(ready, now=time.time())
    diagnose = _function(order.diagnose) if order.diagnose else diagnose_incident
    with open_incidents(order.database) as store:
        return _Worker(order, tether, store, ready, diagnose).work()


def _today() -> datetime.date:
    return datetime.date.today()


def _expert(order: Order, today: datetime.date) -> Expert:
    return expert(load(builtin_files(), order.packs, today=today.isoformat()))


def _function(name: str) -> Diagnose:
    """`module:function`."""
    module, _, function = name.partition(":")
    found: Diagnose = getattr(importlib.import_module(module), function)
    return found


class _Worker:
    def __init__(self, order: Order, tether: Tether, store: IncidentStore, ready: Expert, diagnose: Diagnose) -> None:
        self._order = order
        self._settings = order.settings
        self._tether = tether
        self._store = store
        self._expert = ready
        self._diagnose = diagnose
        self._day = _today()
        self._spoke = 0.0
        self._known_idle = False
        self._quiet = min(_SIGN_OF_LIFE_SECONDS, order.settings.worker.deadline_seconds / 4)

    def work(self) -> int:
        rules = self._expert.loaded.rules
        self._say("ready", rules=len(rules.rules), packs=dict(rules.packs))
        self._tether.listen()
        self._stand_by()
        while not self._tether.finishing.is_set():
            self._turn()
        return 0

    def _stand_by(self) -> None:
        """Until the service lets this worker begin: another may still be at work."""
        while not self._tether.begun.wait(self._quiet):
            self._say("standing by")

    def _turn(self) -> None:
        self._tether.woken.clear()
        taken = self._insist(lambda: self._store.take_job(time.time()))
        if taken is None:
            self._rest()
        else:
            self._known_idle = False
            self._do(*taken)

    def _rest(self) -> None:
        """Wait until woken, or for a second: a job that was put off comes due without anybody saying so."""
        self._renew_rules()
        if not self._known_idle or time.monotonic() - self._spoke >= self._quiet:
            self._say("idle")
        self._known_idle = not self._tether.woken.wait(min(_POLL_SECONDS, self._quiet))

    def _renew_rules(self) -> None:
        """The day decides which overrides and suppressions hold; rules that it makes wrong stay as they were."""
        today = _today()
        if today == self._day:
            return
        self._day = today
        try:
            self._expert = _expert(self._order, today)
        except RuleBaseError as error:
            self._say("outdated", error=str(error)[:_LONGEST_ERROR])

    def _say(self, event: str, **fields: Any) -> None:
        self._tether.say(event, **fields)
        self._spoke = time.monotonic()

    def _insist(self, write: Callable[[], T]) -> T:
        """Do it again while the database cannot be written, for a time: others write, or a disk is being cleared."""
        for wait in _STORE_WAITS_SECONDS:
            try:
                return write()
            except StoreError:
                time.sleep(min(wait, self._settings.worker.deadline_seconds / 16))
        return write()

    # One job

    def _do(self, job: Job, incident: Incident) -> None:
        started = time.monotonic()
        self._say("taken", incident=job.incident, attempt=job.attempts)
        last = job.attempts >= self._settings.worker.attempts
        try:
            found = self._diagnose(incident, self._settings, self._expert, now=time.time(), last=last)
            self._keep(job, incident, found, started)
        except Retry as wish:
            self._give_back(job, str(wish), park=last)
        except MemoryError:
            raise
        except Exception as error:
            # Whatever it was, it is this incident's: it must not keep the others waiting. Where it was the database's,
            # giving the job back fails too, and this process ends.
            detail = "".join(traceback.format_exception(error))
            self._give_back(job, f"{type(error).__name__}: {error}", park=last, trace=detail[-_LONGEST_ERROR:])

    def _keep(self, job: Job, incident: Incident, found: Diagnosed, started: float) -> None:
        now = time.time()
        messages = messages_for(incident, found.finding, self._settings, now)
        kept = self._insist(
            lambda: self._store.finish(
                job.incident, job.token, found.finding, found.document, found.bundle, messages, now
            )
        )
        seconds = round(time.monotonic() - started, 4)
        if kept:
            self._say("finished", incident=job.incident, seconds=seconds, state=found.finding.state,
                      rule=found.finding.rule, messages=len(messages))  # fmt: skip
        else:
            self._say("superseded", incident=job.incident, seconds=seconds)

    def _give_back(self, job: Job, error: str, *, park: bool, trace: str = "") -> None:
        wait = backoff(self._settings.worker.backoff_seconds, job.attempts)
        text = error[:_LONGEST_ERROR]
        self._insist(lambda: self._store.fail(job.incident, job.token, text, not_before=time.time() + wait, park=park))
        more = {"trace": trace} if trace else {}
        self._say("parked" if park else "postponed", incident=job.incident, attempt=job.attempts, error=text,
                  **({} if park else {"wait": wait}), **more)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
