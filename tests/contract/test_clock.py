"""Contract of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.system.clock import SystemClock
from alexandria.ports.clock import Clock

CLOCKS = [
    pytest.param(SystemClock(), id="system"),
    pytest.param(ManualClock(datetime(2026, 5, 1, tzinfo=UTC)), id="manual"),
]


@pytest.mark.parametrize("clock", CLOCKS)
def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)


def test_system_clock_tells_the_time_of_the_machine() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before - timedelta(minutes=1) < now < datetime.now(UTC) + timedelta(minutes=1)


def test_manual_clock_moves_only_when_told_forwards_and_backwards() -> None:
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.advance(0.000_001)
    assert clock.now() == datetime(2026, 5, 1, 0, 0, 0, 1, tzinfo=UTC)
    clock.advance(-86_400)
    assert clock.now() == datetime(2026, 4, 30, 0, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=2))])
def test_manual_clock_refuses_a_time_that_is_not_utc(zone: timezone | None) -> None:
    with pytest.raises(ValueError, match="UTC"):
        ManualClock(datetime(2026, 5, 1, tzinfo=zone))
