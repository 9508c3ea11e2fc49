"""An instant in text."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """An instant, in seconds since the epoch, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
