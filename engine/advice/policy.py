"""
How conclusions become advice; `rules/catalogue/advice.yaml` holds the figures.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abort:
    """
    When to take a change back: by the limits of the regressions named, rule and parameter, of what rises (`rise`) and
    of what falls (`fall`); when a further share of `errors` of all operations fails; when a restart takes longer than
    `restart` seconds.
    """

    rise: str = ""
    fall: str = ""
    errors: float = 1.0
    restart: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """
    `least_confidence` is the probability from which a cause may change a server. For `settled_for` seconds a change
    is not turned back, after `expires_after` seconds a patch is void. From `least_cases` verified cases on predictions
    are scaled. `budget` is the fact that bounds all memory together, `uptime` the one that tells how long the server
    has run; within `startup` seconds of its start it has read its configuration.
    """

    least_confidence: float = 0.0
    settled_for: float = 0.0
    expires_after: float = 0.0
    least_cases: int = 1
    budget: str = ""
    uptime: str = ""
    startup: float = 0.0
    abort: Abort = Abort()
