"""Jobs, the table of their moves, their records and their ids."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexandria.domain.errors import DomainError, IllegalTransitionError
from alexandria.domain.job import TRANSITIONS, Job, JobEvent, JobRecord, JobState, Phase, job_id_at
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.job_endings import after_failure, after_lapse, cancel_waiting, end_lapsed, skip
from alexandria.ports.job_json import record_from_json, record_to_json
from alexandria.ports.job_queue import QueueRules

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FLASK = RepoUrl("github.com/pallets/flask")
JOB = Job("a", FLASK, NOW)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))

# The moves, written down a second time from the design.
MOVES = {
    ("queued", "be claimed", "running"),
    ("queued", "expire", "skipped"),
    ("queued", "be cancelled", "cancelled"),
    ("running", "complete", "complete"),
    ("running", "fail", "failed"),
    ("running", "be given back", "queued"),
    ("running", "be queued again", "queued"),
    ("running", "be cancelled", "cancelled"),
}


def in_state(state: JobState) -> Job:
    return replace(JOB, state=state, attempt=1)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", JobEvent)
def test_job_makes_the_moves_of_the_table_and_no_other(state: JobState, event: JobEvent) -> None:
    job = in_state(state)
    ends = [after for before, what, after in MOVES if (before, what) == (state, event)]
    if ends:
        assert [job.after(event).state] == ends
    else:
        with pytest.raises(IllegalTransitionError) as illegal:
            job.after(event)
        assert (illegal.value.current, illegal.value.event) == (state, event)
    assert job == in_state(state)  # it is unchanged either way


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[JobState.COMPLETE, JobEvent.CLAIM] = JobState.RUNNING  # type: ignore[index]  # that is the point


@pytest.mark.parametrize("state", JobState)
def test_final_states_are_those_without_a_way_out(state: JobState) -> None:
    assert state.is_final is not any(before is state for before, _ in TRANSITIONS)


@settings(max_examples=200)
@given(events=st.lists(st.sampled_from(JobEvent), max_size=30))
def test_attempt_is_the_number_of_claims_less_those_given_back(events: list[JobEvent]) -> None:
    job, made = JOB, []
    for event in events:
        try:
            job = job.after(event)
        except IllegalTransitionError:
            continue
        made.append(event)
    assert job.attempt == made.count(JobEvent.CLAIM) - made.count(JobEvent.GIVE_BACK)
    assert replace(job, state=JOB.state, attempt=0) == JOB  # nothing else has changed
    assert sum(job.state.is_final for _ in made) in {0, len(made)}


@settings(max_examples=200)
@given(ttl_s=st.integers(1, 10**6), age_us=st.integers(-(10**12), 10**12), state=st.sampled_from(JobState))
@example(86_400, 86_400 * 10**6 - 10**6, JobState.QUEUED)
@example(86_400, 86_400 * 10**6, JobState.QUEUED)
@example(86_400, 86_400 * 10**6 + 1, JobState.QUEUED)
@example(86_400, 86_400 * 10**6 + 10**6, JobState.RUNNING)
def test_property_18_job_is_stale_when_it_waits_and_is_older_than_its_time(
    ttl_s: int, age_us: int, state: JobState
) -> None:
    job = replace(JOB, ttl_s=ttl_s, state=state)
    assert job.is_stale(NOW + timedelta(microseconds=age_us)) is (state == "queued" and age_us > ttl_s * 10**6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "ü"},
        {"id": "a\n"},
        {"id": "a" * 101},
        {"submitted_at": NOW.replace(tzinfo=None)},
        {"submitted_at": NOW.astimezone(timezone(timedelta(hours=2)))},
        {"ttl_s": 0},
        {"attempt": -1},
        {"ref": "-b"},
    ],
)
def test_job_that_breaks_a_rule_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        replace(JOB, **wrong)


def test_job_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        JOB.state = JobState.RUNNING  # type: ignore[misc]  # that is the point


def test_phases_stand_in_the_order_of_the_work() -> None:
    assert list(Phase) == ["cloning", "parsing", "training", "uploading"]


# Records

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**53)
RECORDS = st.builds(
    JobRecord,
    job_id=st.text(),
    repo_url=st.text(),
    status=st.sampled_from([state for state in JobState if state.is_final]),
    timestamp=MOMENTS,
    started_at=st.none() | MOMENTS,
    duration_seconds=FINITE.map(abs),
    reason=st.text(st.characters(codec=None, categories=None)),
    commit=st.text(),
    files_processed=COUNTS,
    files_failed=COUNTS,
    edges=COUNTS,
    imports_unresolved=COUNTS,
    embeddings_generated=COUNTS,
    final_loss=st.none() | FINITE,
    edge_auc=st.none() | FINITE,
    device=st.text(),
    worker_id=st.text(),
    attempt=COUNTS,
)
RECORD = JobRecord("a", FLASK.url, JobState.COMPLETE, NOW)


@settings(max_examples=200)
@given(record=RECORDS)
def test_record_comes_back_from_its_json_as_it_was(record: JobRecord) -> None:
    text = record_to_json(record)
    assert text.isascii()
    assert "\n" not in text
    assert record_from_json(text) == record_from_json(text.encode()) == record


@settings(max_examples=100)
@given(record=RECORDS)
def test_property_09_record_has_the_fields_that_were_asked_for(record: JobRecord) -> None:
    names = {"repo_url", "status", "duration_seconds", "files_processed", "embeddings_generated", "timestamp"}
    assert names <= json.loads(record_to_json(record)).keys()


def test_json_of_another_version_is_read() -> None:
    text = '{"job_id": "a", "repo_url": "r", "status": "failed", "timestamp": "2026-05-01T14:00:00+02:00", "later": []}'
    record = record_from_json(text)
    assert record == JobRecord("a", "r", JobState.FAILED, NOW)
    assert record.timestamp.utcoffset() == timedelta(0)


WRONG_VALUES: list[tuple[str, object]] = [
    ("status", "running"),
    ("status", "done"),
    ("status", None),
    ("timestamp", "yesterday"),
    ("timestamp", 0),
    ("timestamp", None),
    ("timestamp", "0001-01-01T00:00:00+23:00"),
    ("job_id", 5),
    ("job_id", None),
    ("edges", "5"),
    ("edges", True),
    ("edges", 1.5),
    ("duration_seconds", None),
    ("duration_seconds", -1),
    ("duration_seconds", float("nan")),
    ("duration_seconds", 10**400),
    ("final_loss", "low"),
    ("final_loss", float("inf")),
]


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_json_with_a_wrong_value_is_no_record(name: str, value: object) -> None:
    values = json.loads(record_to_json(RECORD)) | {name: value}
    with pytest.raises(ValueError, match=r".+"):
        record_from_json(json.dumps(values))


@settings(max_examples=200)
@given(text=st.text() | st.binary() | st.recursive(st.none() | st.text() | FINITE, st.lists).map(json.dumps))
@example("[" * 100_000)
@example("{}")
@example("\udcff")
@example(b"\xff\xfe")
def test_text_that_is_no_record_raises_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        record_from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": JobState.RUNNING},
        {"status": JobState.QUEUED},
        {"timestamp": NOW.replace(tzinfo=None)},
        {"started_at": NOW.astimezone(timezone(timedelta(hours=2)))},
        {"duration_seconds": -0.001},
        {"duration_seconds": float("nan")},
        {"final_loss": float("nan")},
        {"edge_auc": float("inf")},
    ],
)
def test_record_that_breaks_a_rule_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        replace(RECORD, **wrong)


# How a queue ends a job that no worker ends


def test_skipped_job_says_how_old_it_was() -> None:
    job, record = skip(JOB, NOW + timedelta(hours=25))
    assert (job.state, record.status) == ("skipped", "skipped")
    assert record.reason == "waited for 90000 s, longer than its time to live of 86400 s"
    assert (record.job_id, record.repo_url, record.started_at) == ("a", FLASK.url, None)


def test_cancelled_job_that_waits_is_recorded() -> None:
    job, record = cancel_waiting(replace(JOB, attempt=2), NOW)
    assert (job.state, record.status, record.attempt) == ("cancelled", "cancelled", 2)


@pytest.mark.parametrize(
    ("attempt", "cancel_requested", "event"),
    [(1, False, JobEvent.REQUEUE), (3, False, JobEvent.FAIL), (1, True, JobEvent.CANCEL), (3, True, JobEvent.CANCEL)],
)
def test_lapsed_job_is_tried_again_unless_that_was_its_last_attempt_or_it_was_cancelled(
    attempt: int, cancel_requested: bool, event: JobEvent
) -> None:
    job = replace(JOB, attempt=attempt, state=JobState.RUNNING)
    assert after_lapse(job, QueueRules(), cancel_requested=cancel_requested) is event


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("cancel_requested", [True, False])
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_failed_job_is_tried_again_only_if_it_may_be(retry: bool, cancel_requested: bool, attempt: int) -> None:
    job = replace(JOB, attempt=attempt, state=JobState.RUNNING)
    event = after_failure(job, QueueRules(), retry=retry, cancel_requested=cancel_requested)
    assert (event is JobEvent.REQUEUE) is (retry and not cancel_requested and attempt < 3)
    assert event in {JobEvent.REQUEUE, JobEvent.FAIL}


@pytest.mark.parametrize("started_ago_s", [400, -86_400])
def test_lapsed_job_is_recorded_with_the_time_that_it_was_held_for(started_ago_s: int) -> None:
    job = replace(JOB, attempt=3, state=JobState.RUNNING)
    started_at, lapsed_at = NOW - timedelta(seconds=started_ago_s), NOW - timedelta(seconds=100)
    ended, record = end_lapsed(job, JobEvent.FAIL, NOW, started_at=started_at, lapsed_at=lapsed_at, worker_id="gone")
    assert (ended.state, record.status, record.timestamp) == ("failed", "failed", NOW)
    assert record.duration_seconds == (300 if started_ago_s > 0 else 0)  # a clock that stepped makes no time below 0


# Rules


@pytest.mark.parametrize("name", ["cap", "ttl_s", "lease_s", "max_attempts", "history_length"])
def test_rule_that_is_not_above_0_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        QueueRules(**{name: 0})


def test_delay_before_a_retry_doubles_and_is_not_below_0() -> None:
    assert [QueueRules(retry_delay_s=30).delay_after_s(attempt) for attempt in (1, 2, 3)] == [30, 60, 120]
    with pytest.raises(ValueError, match="below 0"):
        QueueRules(retry_delay_s=-1)


# Ids


@settings(max_examples=300)
@given(now=MOMENTS, random=st.binary(min_size=10, max_size=10))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), b"\xff" * 10)
@example(datetime(1970, 1, 1, tzinfo=UTC), bytes(10))
def test_id_is_a_uuid_of_version_7_with_the_milliseconds_in_front(now: datetime, random: bytes) -> None:
    uuid = UUID(job_id_at(now, random))
    assert (uuid.version, uuid.variant) == (7, RFC_4122)
    exact_ms = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert uuid.int >> 80 == exact_ms
    mask = ~(0xF << 76 | 0x3 << 62)
    assert uuid.int & mask & (1 << 80) - 1 == int.from_bytes(random) & mask  # 74 bits of randomness are kept


@settings(max_examples=200)
@given(first=MOMENTS, second=MOMENTS, random=st.binary(min_size=20, max_size=20))
def test_ids_sort_by_time(first: datetime, second: datetime, random: bytes) -> None:
    a, b = job_id_at(first, random[:10]), job_id_at(second, random[10:])
    if abs(first - second) >= timedelta(milliseconds=1):
        assert (a < b) is (first < second)


def test_id_is_that_of_the_example_in_the_standard() -> None:
    # RFC 9562, appendix A.6: 2022-02-22T14:22:22.00-05:00, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    now = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10)
    assert job_id_at(now, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("length", [0, 9, 11, 16])
def test_other_amount_of_randomness_is_refused(length: int) -> None:
    with pytest.raises(DomainError):
        job_id_at(NOW, bytes(length))


@pytest.mark.parametrize(
    "now", [datetime(1969, 12, 31, tzinfo=UTC), NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(hours=1)))]
)
def test_time_that_is_before_1970_or_not_utc_makes_no_id(now: datetime) -> None:
    with pytest.raises(DomainError):
        job_id_at(now, bytes(10))
