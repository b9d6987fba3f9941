"""Times as SQLite can compare them: whole microseconds since 1970, exactly what a datetime holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(moment: datetime) -> int:
    """Return the microseconds from 1970 to `moment`."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """Return the moment in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
