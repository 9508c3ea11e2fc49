"""
What a kept patch tells the ledger once it is applied: one line of JSON among its comments.
"""

import json
from typing import Final

from engram_diagnose.engine.advice.record import Application
from engram_diagnose.history.rows import change_of, change_row, prediction_of, prediction_row

MARK: Final = "# record: "


def memo_line(application: Application) -> str:
    """The line for a patch: whom it was made for, what it changes, what it promises."""
    memo = [
        application.instance,
        application.dialect,
        [change_row(change) for change in application.changes],
        [prediction_row(prediction) for prediction in application.predictions],
    ]
    return MARK + json.dumps(memo, default=_spelled)


def _spelled(name: bytes) -> str:
    """A name that is not UTF-8, as escapes of JSON."""
    return name.decode("utf-8", "surrogatepass")


def with_memo(application: Application) -> Application:
    """
    The application with what its patch's memo says; as it is where the patch has none that can be read.

    A patch may be applied without: only the record of it is poorer then.
    """
    line = next((line for line in application.patch.splitlines() if line.startswith(MARK)), None)
    if line is None:
        return application
    try:
        instance, dialect, changes, predictions = json.loads(line.removeprefix(MARK))
        return Application(
            application.at, str(instance), application.file, application.base, application.result, str(dialect),
            tuple(map(change_of, changes)), tuple(map(prediction_of, predictions)), application.state,
            application.patch, application.id,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        return application
