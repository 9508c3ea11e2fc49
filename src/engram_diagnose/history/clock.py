"""
What a clock that was set back has left waiting for a time that is far away now.
"""

import math
from sqlite3 import Connection


def clamp(connection: Connection, now: float, furthest: float) -> int:
    """
    Let run at `now` what waits longer than anything is put off: `furthest` seconds; how much that was.

    What was never tried is not put off at all; what is held until somebody lets it go stays. Inside a transaction of
    the caller.
    """
    bounds = {"now": now, "furthest": now + furthest, "held": math.inf}
    return sum(connection.execute(query, bounds).rowcount for query in (_JOBS, _MESSAGES))


_JOBS = """
    UPDATE jobs SET not_before = :now
    WHERE state = 'queued' AND not_before > :now AND (attempts = 0 OR not_before > :furthest)
"""
_MESSAGES = """
    UPDATE messages SET not_before = :now
    WHERE state = 'pending' AND not_before > :now AND not_before < :held AND (attempts = 0 OR not_before > :furthest)
"""
