"""
Times as the service writes them, whoever reads them: pages, the API, Alertmanager, a webhook.
"""

from datetime import UTC, datetime


def instant(seconds: float) -> str:
    """
    Seconds since the epoch as ISO 8601 in UTC: `2026-11-22T03:00:00.250Z`.

    A time that no calendar has is the nearest that one has; what is no number becomes the epoch.
    """
    try:
        at = datetime.fromtimestamp(0 if seconds != seconds else seconds, UTC)
    except (OverflowError, ValueError, OSError):
        at = (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
