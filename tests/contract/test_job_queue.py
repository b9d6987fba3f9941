"""Contract of the queue: one suite, every adapter a parameter, a test for every sentence of the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.memory.clock import ManualClock
from alexandria.application.jobs import submit_job
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.job import JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.job_queue import (
    Claim,
    Enqueued,
    JobNotFoundError,
    JobQueue,
    JobQueueUnavailableError,
    LeaseLostError,
    QueueFullError,
    QueueRules,
    Renewal,
    RunningJob,
)
from contract.queues import CLICK, FLASK, PER_STORE, START, STORES, Opener, OpenStore, ids, record_of, repo

DAY_S = 86_400
RULES = QueueRules()


@pytest.fixture(params=STORES)
def opener(request: pytest.FixtureRequest) -> Opener:
    return STORES[request.param]


@pytest.fixture
async def store(opener: Opener) -> AsyncIterator[OpenStore]:
    async with opener(RULES) as opened:
        yield opened


async def claimed(queue: JobQueue, worker_id: str = "w") -> Claim:
    claim = await queue.claim(worker_id)
    assert claim is not None
    return claim


async def claim_of(queue: JobQueue, job_id: str = "a") -> Claim:
    """Enqueue a job and claim it; nothing else may wait."""
    await queue.enqueue(job_id, repo(ord(job_id[0])))
    claim = await claimed(queue)
    assert claim.job.id == job_id
    return claim


# enqueue


async def test_enqueue_answers_with_the_new_job_and_where_it_waits(store: OpenStore) -> None:
    first = await store.queue.enqueue("a", FLASK)
    second = await store.queue.enqueue("b", CLICK, "v8")
    assert (first.created, first.position, first.pending) == (True, 1, 1)
    assert (second.created, second.position, second.pending) == (True, 2, 2)
    job = second.job
    assert (job.id, job.repo, job.ref, job.attempt, job.state) == ("b", CLICK, "v8", 0, JobState.QUEUED)


async def test_job_is_submitted_now_by_the_stores_clock_with_the_rules_time_to_live(store: OpenStore) -> None:
    store.clock.advance(12.5)
    job = (await store.queue.enqueue("a", FLASK)).job
    assert job.submitted_at == START + timedelta(seconds=12.5)
    assert job.submitted_at.utcoffset() == timedelta(0)
    assert job.ttl_s == RULES.ttl_s


async def test_enqueue_repeated_has_one_effect_and_the_same_answer(store: OpenStore) -> None:
    await store.queue.enqueue("z", CLICK)
    first = await store.queue.enqueue("a", FLASK)
    assert await store.queue.enqueue("a", FLASK) == first
    assert ids(await store.queue.pending()) == ["z", "a"]


async def test_enqueue_repeated_after_the_job_was_claimed_or_ended_returns_it_as_it_is(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    running = await store.queue.enqueue("a", claim.job.repo)
    assert (running.job, running.created, running.position) == (claim.job, True, 0)
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE))
    ended = await store.queue.enqueue("a", claim.job.repo)
    assert (ended.job.state, ended.created, ended.position, ended.pending) == (JobState.COMPLETE, True, 0, 0)


async def test_enqueue_repeated_is_answered_even_if_the_queue_is_full(store: OpenStore) -> None:
    for number in range(RULES.cap):
        await store.queue.enqueue(f"job-{number}", repo(number))
    assert (await store.queue.enqueue("job-9", repo(9))).position == RULES.cap


@pytest.mark.parametrize(("other", "ref"), [(CLICK, ""), (FLASK, "v1")])
async def test_id_of_a_job_of_another_repo_or_ref_is_refused(store: OpenStore, other: object, ref: str) -> None:
    await store.queue.enqueue("a", FLASK)
    with pytest.raises(ValueError, match="another"):
        await store.queue.enqueue("a", other, ref)  # type: ignore[arg-type]  # one of two RepoUrls
    assert [job.repo for job in await store.queue.pending()] == [FLASK]


async def test_same_repo_and_ref_that_waits_is_returned_instead(store: OpenStore) -> None:
    first = await store.queue.enqueue("a", FLASK, "main")
    again = await store.queue.enqueue("b", FLASK, "main")
    assert again == replace(first, created=False)
    with pytest.raises(JobNotFoundError):
        await store.queue.get("b")


async def test_same_repo_and_ref_that_runs_is_returned_instead(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    again = await store.queue.enqueue("b", claim.job.repo)
    assert (again.job, again.created, again.position, again.pending) == (claim.job, False, 0, 0)


async def test_same_repo_and_ref_that_waits_for_a_retry_is_returned_instead(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
    again = await store.queue.enqueue("b", claim.job.repo)
    assert (again.job.id, again.created, again.position, again.pending) == ("a", False, 1, 1)


async def test_same_repo_at_another_ref_is_another_job(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    await store.queue.enqueue("b", FLASK, "main")
    assert ids(await store.queue.pending()) == ["a", "b"]


@pytest.mark.parametrize("how", ["complete", "failed", "cancelled", "skipped"])
async def test_repo_whose_job_has_ended_may_be_enqueued_again(store: OpenStore, how: str) -> None:
    if how == "skipped":
        await store.queue.enqueue("a", FLASK)
        store.clock.advance(DAY_S + 1)
    else:
        await store.queue.enqueue("a", FLASK)
        await end(store.queue, await claimed(store.queue), JobState(how))
    assert (await store.queue.enqueue("b", FLASK)).created
    assert (await store.queue.get("a")).job.state == how


async def end(queue: JobQueue, claim: Claim, state: JobState) -> None:
    match state:
        case JobState.COMPLETE:
            await queue.complete(claim, record_of(claim, state))
        case JobState.FAILED:
            assert await queue.fail(claim, record_of(claim, state), retry=False) is state
        case _:
            await queue.cancelled(claim, record_of(claim, JobState.CANCELLED))


async def test_enqueue_at_the_cap_is_refused_and_adds_nothing(store: OpenStore) -> None:
    for number in range(RULES.cap):
        await store.queue.enqueue(f"job-{number}", repo(number))
    with pytest.raises(QueueFullError) as refusal:
        await store.queue.enqueue("one-more", CLICK)
    assert (refusal.value.pending, refusal.value.cap) == (10, 10)
    assert len(await store.queue.pending()) == RULES.cap
    with pytest.raises(JobNotFoundError):
        await store.queue.get("one-more")


async def test_running_jobs_do_not_count_towards_the_cap_and_delayed_retries_do(opener: Opener) -> None:
    async with opener(QueueRules(cap=2)) as store:
        claim = await claim_of(store.queue)
        await store.queue.enqueue("b", FLASK)
        await store.queue.enqueue("c", CLICK)
        await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
        with pytest.raises(QueueFullError) as refusal:
            await store.queue.enqueue("d", repo(1))
        assert refusal.value.pending == 3  # a job that goes back is never refused


async def test_stale_jobs_are_skipped_before_the_cap_is_checked(store: OpenStore) -> None:
    for number in range(RULES.cap):
        await store.queue.enqueue(f"job-{number}", repo(number))
    store.clock.advance(DAY_S + 1)
    assert (await store.queue.enqueue("new", CLICK)).position == 1
    assert ids(await store.queue.history()) == [f"job-{number}" for number in reversed(range(RULES.cap))]
    assert {record.status for record in await store.queue.history()} == {JobState.SKIPPED}


async def test_what_was_skipped_stays_skipped_when_the_queue_is_full_all_the_same(opener: Opener) -> None:
    async with opener(QueueRules(cap=1, ttl_s=100)) as store:
        await store.queue.enqueue("old", repo(0))
        claim = await claimed(store.queue)
        store.clock.advance(90)
        await store.queue.enqueue("young", repo(1))
        store.clock.advance(11)
        await store.queue.release(claim)
        with pytest.raises(QueueFullError):
            await store.queue.enqueue("one-more", repo(2))
        assert (await store.queue.get("old")).job.state is JobState.SKIPPED


async def test_ref_that_git_would_refuse_is_refused(store: OpenStore) -> None:
    with pytest.raises(InvalidRepoUrlError):
        await store.queue.enqueue("a", FLASK, "--upload-pack=x")
    assert await store.queue.pending() == []


async def test_enqueue_adds_at_the_end_before_the_delayed_retries(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
    assert (await store.queue.enqueue("b", FLASK)).position == 1
    assert ids(await store.queue.pending()) == ["b", "a"]


# claim


async def test_empty_queue_has_nothing_to_claim(store: OpenStore) -> None:
    assert await store.queue.claim("w") is None


async def test_claim_takes_the_oldest_job_and_counts_the_attempt(store: OpenStore) -> None:
    enqueued = await store.queue.enqueue("a", FLASK, "main")
    await store.queue.enqueue("b", CLICK)
    claim = await claimed(store.queue, "worker-1")
    assert claim.worker_id == "worker-1"
    assert claim.job == replace(enqueued.job, state=JobState.RUNNING, attempt=1)
    assert ids(await store.queue.pending()) == ["b"]
    assert (await claimed(store.queue)).job.id == "b"


async def test_tokens_grow_with_every_claim_of_any_job_and_with_every_issue(store: OpenStore) -> None:
    tokens = [await store.queue.issue_token()]
    for number in range(3):
        await store.queue.enqueue(f"job-{number}", repo(number))
        claim = await claimed(store.queue)
        tokens.append(claim.token)
        tokens.append(await store.queue.issue_token())
        await store.queue.release(claim)
        again = await claimed(store.queue)
        tokens.append(again.token)
        await end(store.queue, again, JobState.COMPLETE)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("above", [3, 4, 5, 2**40])
async def test_token_is_larger_than_one_that_was_seen_elsewhere_and_so_are_those_after_it(
    store: OpenStore, above: int
) -> None:
    for _ in range(4):  # some of those above are not news
        await store.queue.issue_token()
    token = await store.queue.issue_token(above=above)
    assert token == max(4, above) + 1
    assert (await claim_of(store.queue)).token == token + 1
    assert await store.queue.issue_token() == token + 2


async def test_held_job_is_not_claimed_again_until_its_lease_lapses(store: OpenStore) -> None:
    first = await claim_of(store.queue)
    store.clock.advance(RULES.lease_s - 0.001)
    assert await store.queue.claim("v") is None
    store.clock.advance(0.001)
    second = await claimed(store.queue, "v")
    assert second.job == replace(first.job, attempt=2)
    assert second.token > first.token


async def test_lapsed_job_goes_to_the_front_first_lapsed_first(store: OpenStore) -> None:
    for job_id in ["a", "b", "c", "d"]:
        await store.queue.enqueue(job_id, repo(ord(job_id)))
    late = await claimed(store.queue)
    store.clock.advance(1)
    await claimed(store.queue)
    store.clock.advance(1)
    await store.queue.renew(late, phase=Phase.CLONING, fraction=0)
    store.clock.advance(RULES.lease_s)
    claims = [(await claimed(store.queue)).job.id for _ in range(4)]
    assert claims == ["b", "a", "c", "d"]


async def test_jobs_that_lapse_at_one_moment_go_by_id(store: OpenStore) -> None:
    for job_id in ["c", "a", "b"]:
        await store.queue.enqueue(job_id, repo(ord(job_id)))
    for _ in range(3):
        await claimed(store.queue)
    store.clock.advance(RULES.lease_s)
    assert [(await claimed(store.queue)).job.id for _ in range(3)] == ["a", "b", "c"]


async def test_job_that_lapses_in_its_last_attempt_is_recorded_as_failed(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    for attempt in range(1, RULES.max_attempts + 1):
        assert (await claimed(store.queue, "gone")).job.attempt == attempt
        store.clock.advance(RULES.lease_s + 10)
    assert await store.queue.claim("w") is None
    [record] = await store.queue.history()
    assert (record.job_id, record.repo_url, record.status) == ("a", FLASK.url, JobState.FAILED)
    assert (record.worker_id, record.attempt, record.duration_seconds) == ("gone", 3, RULES.lease_s)
    assert record.timestamp == store.clock.now()
    assert record.started_at == store.clock.now() - timedelta(seconds=RULES.lease_s + 10)
    assert "attempt 3" in record.reason


async def test_lapsed_job_that_was_cancelled_is_recorded_as_cancelled(store: OpenStore) -> None:
    await claim_of(store.queue)
    await store.queue.cancel("a")
    store.clock.advance(RULES.lease_s)
    assert await store.queue.claim("w") is None
    [record] = await store.queue.history()
    assert (record.job_id, record.status, record.attempt) == ("a", JobState.CANCELLED, 1)
    assert "cancelled" in record.reason


async def test_delayed_retry_that_is_due_goes_to_the_end(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
    await store.queue.enqueue("b", FLASK)
    store.clock.advance(RULES.retry_delay_s)
    assert (await claimed(store.queue)).job.id == "b"
    await store.queue.enqueue("c", CLICK)
    assert [(await claimed(store.queue)).job.id for _ in range(2)] == ["a", "c"]


async def test_delayed_retries_go_by_the_time_they_are_due_then_by_id(store: OpenStore) -> None:
    for job_id in ["c", "b", "a"]:
        await store.queue.enqueue(job_id, repo(ord(job_id)))
    c, b, a = [await claimed(store.queue) for _ in range(3)]
    await store.queue.fail(c, record_of(c, JobState.FAILED), retry=True)
    store.clock.advance(1)
    await store.queue.fail(b, record_of(b, JobState.FAILED), retry=True)
    await store.queue.fail(a, record_of(a, JobState.FAILED), retry=True)
    assert ids(await store.queue.pending()) == ["c", "a", "b"]
    store.clock.advance(RULES.retry_delay_s)
    assert [(await claimed(store.queue)).job.id for _ in range(3)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(DAY_S - 1, JobState.RUNNING), (DAY_S, JobState.RUNNING), (DAY_S + 1, JobState.SKIPPED)],
)
async def test_job_older_than_its_time_to_live_is_skipped(store: OpenStore, age_s: int, state: JobState) -> None:
    await store.queue.enqueue("a", FLASK)
    store.clock.advance(age_s)
    await store.queue.claim("w")
    assert (await store.queue.get("a")).job.state is state


async def test_job_is_stale_a_microsecond_after_its_time_to_live(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    store.clock.advance(DAY_S + 0.000_001)
    assert await store.queue.claim("w") is None


async def test_skipped_job_is_recorded_with_its_age(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    store.clock.advance(DAY_S + 3600)
    assert await store.queue.claim("w") is None
    [record] = await store.queue.history()
    assert (record.job_id, record.repo_url, record.status) == ("a", FLASK.url, JobState.SKIPPED)
    assert (record.started_at, record.duration_seconds, record.attempt, record.worker_id) == (None, 0, 0, "")
    assert record.timestamp == store.clock.now()
    assert "90000 s" in record.reason
    assert "86400 s" in record.reason


async def test_delayed_retry_and_lapsed_job_past_their_time_to_live_are_skipped(opener: Opener) -> None:
    async with opener(QueueRules(ttl_s=400)) as store:
        failed = await claim_of(store.queue, "a")
        await claim_of(store.queue, "b")
        store.clock.advance(299)
        await store.queue.fail(failed, record_of(failed, JobState.FAILED), retry=True)
        store.clock.advance(102)
        assert await store.queue.claim("w") is None
        assert ids(await store.queue.history()) == ["a", "b"]  # in the order of the queue: b went to its front
        assert {record.status for record in await store.queue.history()} == {JobState.SKIPPED}


async def test_running_job_does_not_grow_stale(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    store.clock.advance(2 * DAY_S)
    assert await store.queue.renew(claim, phase=Phase.TRAINING, fraction=0.5) is Renewal.OK
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE))


# renew


async def test_renew_holds_the_claim_for_another_lease_from_now(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    store.clock.advance(200)
    assert await store.queue.renew(claim, phase=Phase.PARSING, fraction=0) is Renewal.OK
    store.clock.advance(RULES.lease_s - 0.001)
    assert await store.queue.claim("v") is None
    store.clock.advance(0.001)
    assert (await claimed(store.queue, "v")).job.id == "a"


async def test_renew_tells_onlookers_where_it_is(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    view = await store.queue.get("a")
    assert (view.job, view.position, view.worker_id) == (claim.job, 0, "w")
    assert (view.phase, view.fraction, view.record, view.cancel_requested) == (None, 0, None, False)
    await store.queue.renew(claim, phase=Phase.TRAINING, fraction=0.375)
    view = await store.queue.get("a")
    assert (view.phase, view.fraction) == (Phase.TRAINING, 0.375)
    await store.queue.release(claim)
    view = await store.queue.get("a")
    assert (view.phase, view.fraction, view.worker_id, view.position) == (None, 0, "", 1)
    await claimed(store.queue, "v")
    view = await store.queue.get("a")
    assert (view.phase, view.fraction, view.worker_id) == (None, 0, "v")


async def test_renew_of_a_cancelled_job_answers_cancel_every_time(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.cancel("a")
    for _ in range(2):
        assert await store.queue.renew(claim, phase=Phase.CLONING, fraction=1) is Renewal.CANCEL
    store.clock.advance(RULES.lease_s - 1)
    assert await store.queue.claim("v") is None


async def test_lapsed_lease_that_nobody_has_noticed_may_still_be_renewed_and_its_job_ended(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    store.clock.advance(10 * RULES.lease_s)
    assert await store.queue.renew(claim, phase=Phase.TRAINING, fraction=0.5) is Renewal.OK
    store.clock.advance(10 * RULES.lease_s)
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE))
    assert (await store.queue.get("a")).job.state is JobState.COMPLETE


@pytest.mark.parametrize("fraction", [-0.001, 1.001, float("nan")])
async def test_fraction_outside_0_to_1_is_refused(store: OpenStore, fraction: float) -> None:
    claim = await claim_of(store.queue)
    with pytest.raises(ValueError, match="fraction"):
        await store.queue.renew(claim, phase=Phase.CLONING, fraction=fraction)
    assert (await store.queue.get("a")).phase is None


# complete, fail, cancelled, release


async def test_complete_ends_the_job_and_puts_its_record_at_the_head(store: OpenStore) -> None:
    first = await claim_of(store.queue, "a")
    second = await claim_of(store.queue, "b")
    records = [record_of(first, JobState.COMPLETE), record_of(second, JobState.COMPLETE)]
    await store.queue.complete(first, records[0])
    await store.queue.complete(second, records[1])
    assert await store.queue.history() == records[::-1]
    view = await store.queue.get("a")
    assert view.job == replace(first.job, state=JobState.COMPLETE)
    assert (view.record, view.worker_id, view.phase) == (records[0], "", None)


async def test_job_that_was_cancelled_may_still_be_completed(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.cancel("a")
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE))
    view = await store.queue.get("a")
    assert (view.job.state, view.cancel_requested) == (JobState.COMPLETE, False)


async def test_failed_job_is_tried_again_after_a_delay_that_doubles_and_then_failed_for_good(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    for delay_s in [30, 60]:
        claim = await claimed(store.queue)
        assert await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True) is JobState.QUEUED
        assert await store.queue.history() == []
        [waiting] = await store.queue.pending()
        assert waiting == replace(claim.job, state=JobState.QUEUED)
        store.clock.advance(delay_s - 0.001)
        assert await store.queue.claim("w") is None
        store.clock.advance(0.001)
    claim = await claimed(store.queue)
    record = record_of(claim, JobState.FAILED, reason="the third time")
    assert await store.queue.fail(claim, record, retry=True) is JobState.FAILED
    assert await store.queue.history() == [record]
    store.clock.advance(1000)
    assert await store.queue.claim("w") is None


async def test_failure_without_retry_is_for_good_and_recorded(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    record = record_of(claim, JobState.FAILED, reason="no such repository")
    assert await store.queue.fail(claim, record, retry=False) is JobState.FAILED
    assert await store.queue.history() == [record]
    assert (await store.queue.get("a")).job == replace(claim.job, state=JobState.FAILED)


async def test_failed_job_that_was_cancelled_is_not_tried_again(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.cancel("a")
    record = record_of(claim, JobState.FAILED)
    assert await store.queue.fail(claim, record, retry=True) is JobState.FAILED
    assert await store.queue.history() == [record]


async def test_cancelled_ends_the_job_and_records_it(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.cancel("a")
    record = record_of(claim, JobState.CANCELLED)
    await store.queue.cancelled(claim, record)
    assert await store.queue.history() == [record]
    assert (await store.queue.get("a")).job.state is JobState.CANCELLED


async def test_released_job_goes_to_the_front_and_the_attempt_does_not_count(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    await store.queue.enqueue("b", CLICK)
    claim = await claimed(store.queue)
    await store.queue.release(claim)
    assert ids(await store.queue.pending()) == ["a", "b"]
    view = await store.queue.get("a")
    assert (view.job.attempt, view.position) == (0, 1)
    assert (await claimed(store.queue)).job.attempt == 1


async def test_job_can_be_released_more_often_than_it_may_fail(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    for _ in range(3 * RULES.max_attempts):
        await store.queue.release(await claimed(store.queue))
    assert await store.queue.history() == []
    assert ids(await store.queue.pending()) == ["a"]


async def test_released_job_that_was_cancelled_is_recorded_as_cancelled(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.cancel("a")
    for _ in range(2):
        await store.queue.release(claim)
    assert await store.queue.pending() == []
    [record] = await store.queue.history()
    assert (record.job_id, record.status) == ("a", JobState.CANCELLED)


ENDINGS: dict[str, Callable[[JobQueue, Claim], Awaitable[object]]] = {
    "complete": lambda queue, claim: queue.complete(claim, record_of(claim, JobState.COMPLETE)),
    "fail for good": lambda queue, claim: queue.fail(claim, record_of(claim, JobState.FAILED), retry=False),
    "fail and retry": lambda queue, claim: queue.fail(claim, record_of(claim, JobState.FAILED), retry=True),
    "cancelled": lambda queue, claim: queue.cancelled(claim, record_of(claim, JobState.CANCELLED)),
    "release": lambda queue, claim: queue.release(claim),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_ending_repeated_has_one_effect_and_the_same_answer(store: OpenStore, ending: str) -> None:
    claim = await claim_of(store.queue)
    answer = await ENDINGS[ending](store.queue, claim)
    view, history, pending = await store.queue.get("a"), await store.queue.history(), await store.queue.pending()
    store.clock.advance(5)
    for _ in range(3):
        assert await ENDINGS[ending](store.queue, claim) == answer
    assert await store.queue.get("a") == view
    assert await store.queue.history() == history
    assert await store.queue.pending() == pending


@pytest.mark.parametrize("ending", ENDINGS)
async def test_claim_that_was_ended_one_way_is_refused_for_the_others(store: OpenStore, ending: str) -> None:
    claim = await claim_of(store.queue)
    await ENDINGS[ending](store.queue, claim)
    history, pending = await store.queue.history(), await store.queue.pending()
    for other in ENDINGS.keys() - {ending, "fail and retry" if ending == "fail for good" else ending}:
        with pytest.raises(LeaseLostError) as lost:
            await ENDINGS[other](store.queue, claim)
        assert (lost.value.job_id, lost.value.token) == ("a", claim.token)
    with pytest.raises(LeaseLostError):
        await store.queue.renew(claim, phase=Phase.UPLOADING, fraction=1)
    assert await store.queue.history() == history
    assert await store.queue.pending() == pending


@pytest.mark.parametrize("ending", ["fail and retry", "release"])
async def test_ending_repeated_after_the_job_was_claimed_again_is_refused(store: OpenStore, ending: str) -> None:
    claim = await claim_of(store.queue)
    await ENDINGS[ending](store.queue, claim)
    store.clock.advance(RULES.retry_delay_s)
    again = await claimed(store.queue, "v")
    with pytest.raises(LeaseLostError):
        await ENDINGS[ending](store.queue, claim)
    view = await store.queue.get("a")
    assert (view.job, view.worker_id) == (again.job, "v")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("claimed_again", [True, False])
async def test_late_worker_is_refused_and_changes_nothing(store: OpenStore, ending: str, claimed_again: bool) -> None:
    late = await claim_of(store.queue)
    store.clock.advance(RULES.lease_s)
    current = await claimed(store.queue, "v")
    if not claimed_again:
        await store.queue.release(current)
    view = await store.queue.get("a")
    with pytest.raises(LeaseLostError):
        await ENDINGS[ending](store.queue, late)
    with pytest.raises(LeaseLostError):
        await store.queue.renew(late, phase=Phase.UPLOADING, fraction=0.5)
    assert await store.queue.get("a") == view
    assert await store.queue.history() == []


@pytest.mark.parametrize("ending", ENDINGS)
async def test_claim_on_a_job_that_is_not_known_is_refused(store: OpenStore, ending: str) -> None:
    claim = await claim_of(store.queue)
    stranger = replace(claim, job=replace(claim.job, id="nobody"))
    with pytest.raises(LeaseLostError):
        await ENDINGS[ending](store.queue, stranger)


async def test_record_of_another_job_or_state_is_refused_and_changes_nothing(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    done, failed, cancelled = [record_of(claim, JobState(s)) for s in ("complete", "failed", "cancelled")]
    with pytest.raises(ValueError, match="failed"):
        await store.queue.complete(claim, failed)
    with pytest.raises(ValueError, match="complete"):
        await store.queue.fail(claim, done, retry=False)
    with pytest.raises(ValueError, match="complete"):
        await store.queue.cancelled(claim, done)
    with pytest.raises(ValueError, match="nobody"):
        await store.queue.complete(claim, replace(done, job_id="nobody"))
    with pytest.raises(ValueError, match="nobody"):
        await store.queue.fail(claim, replace(failed, job_id="nobody"), retry=True)
    with pytest.raises(ValueError, match="nobody"):
        await store.queue.cancelled(claim, replace(cancelled, job_id="nobody"))
    assert (await store.queue.get("a")).job == claim.job
    assert await store.queue.history() == []


# cancel, get, pending, history


async def test_job_that_waits_is_cancelled_at_once_and_recorded(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    await store.queue.enqueue("b", CLICK)
    store.clock.advance(7)
    view = await store.queue.cancel("a")
    assert view == await store.queue.get("a")
    assert (view.job.state, view.position) == (JobState.CANCELLED, 0)
    [record] = await store.queue.history()
    assert view.record == record
    assert (record.job_id, record.status, record.started_at, record.attempt) == ("a", JobState.CANCELLED, None, 0)
    assert (record.timestamp, record.repo_url) == (START + timedelta(seconds=7), FLASK.url)
    assert "cancelled" in record.reason
    assert ids(await store.queue.pending()) == ["b"]


async def test_delayed_retry_is_cancelled_at_once_with_its_attempts(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
    await store.queue.cancel("a")
    [record] = await store.queue.history()
    assert (record.status, record.attempt) == (JobState.CANCELLED, 1)
    store.clock.advance(RULES.retry_delay_s)
    assert await store.queue.claim("w") is None


async def test_job_that_runs_is_cancelled_at_its_workers_next_renew(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    view = await store.queue.cancel("a")
    assert (view.job, view.cancel_requested, view.worker_id) == (claim.job, True, "w")
    assert await store.queue.history() == []
    assert await store.queue.renew(claim, phase=Phase.CLONING, fraction=0) is Renewal.CANCEL


async def test_cancel_repeated_has_one_effect_and_the_same_answer(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK)
    first = await store.queue.cancel("a")
    store.clock.advance(5)
    assert await store.queue.cancel("a") == first
    assert len(await store.queue.history()) == 1
    await store.queue.enqueue("b", CLICK)
    await claimed(store.queue)
    first = await store.queue.cancel("b")
    assert await store.queue.cancel("b") == first


@pytest.mark.parametrize("state", [JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED])
async def test_job_that_has_ended_stays_as_it_is_when_cancelled(store: OpenStore, state: JobState) -> None:
    claim = await claim_of(store.queue)
    await end(store.queue, claim, state)
    view = await store.queue.get("a")
    assert await store.queue.cancel("a") == view
    assert view.job.state is state
    assert len(await store.queue.history()) == 1


@pytest.mark.parametrize("job_id", ["nobody", "", "ü", "\udcff", "a\0b", "x" * 10_000, "' OR 1=1 --", "*"])
async def test_id_that_is_not_known_is_not_found(store: OpenStore, job_id: str) -> None:
    await store.queue.enqueue("a", FLASK)
    for ask in (store.queue.get, store.queue.cancel):
        with pytest.raises(JobNotFoundError) as unknown:
            await ask(job_id)
        assert unknown.value.job_id == job_id


async def test_ended_job_is_known_as_long_as_its_record_is_in_the_history(opener: Opener) -> None:
    async with opener(QueueRules(history_length=3)) as store:
        for number in range(5):
            await store.queue.enqueue(f"job-{number}", repo(number))
            await end(store.queue, await claimed(store.queue), JobState.COMPLETE)
        assert ids(await store.queue.history()) == ["job-4", "job-3", "job-2"]
        for number in (2, 3, 4):
            assert (await store.queue.get(f"job-{number}")).job.state is JobState.COMPLETE
        with pytest.raises(JobNotFoundError):
            await store.queue.get("job-1")


async def test_pending_shows_what_the_next_claim_will_put_back_or_skip_as_it_is_before(store: OpenStore) -> None:
    failed = await claim_of(store.queue, "f")
    await store.queue.fail(failed, record_of(failed, JobState.FAILED), retry=True)
    await claim_of(store.queue, "l")
    await store.queue.enqueue("p", FLASK)
    store.clock.advance(DAY_S + 1)
    assert ids(await store.queue.pending()) == ["p", "f"]
    assert (await store.queue.get("l")).job.state is JobState.RUNNING
    assert [(await store.queue.get(job_id)).position for job_id in "pf"] == [1, 2]


async def test_running_shows_who_holds_the_claim_since_when_and_until_when(store: OpenStore) -> None:
    await store.queue.enqueue("a", FLASK, "main")
    store.clock.advance(7)
    claim = await claimed(store.queue, "worker-1")
    claimed_at = START + timedelta(seconds=7)
    lease = timedelta(seconds=RULES.lease_s)
    [running] = await store.queue.running()
    assert running == RunningJob(claim.job, "worker-1", None, 0, claimed_at, claimed_at + lease, lapsed=False)
    assert running.claimed_at.utcoffset() == running.lease_until.utcoffset() == timedelta(0)
    store.clock.advance(60)
    await store.queue.renew(claim, phase=Phase.TRAINING, fraction=0.375)
    [running] = await store.queue.running()
    assert running == RunningJob(
        claim.job,
        "worker-1",
        Phase.TRAINING,
        0.375,
        claimed_at,
        claimed_at + timedelta(seconds=60) + lease,
        lapsed=False,
    )


async def test_running_has_the_oldest_claim_first_whoever_was_renewed_last(store: OpenStore) -> None:
    for job_id in ["b", "c", "a"]:
        claim = await claim_of(store.queue, job_id)
        store.clock.advance(1)
        if job_id == "b":
            first = claim
    await store.queue.renew(first, phase=Phase.CLONING, fraction=0)
    assert ids([running.job for running in await store.queue.running()]) == ["b", "c", "a"]


async def test_running_jobs_that_were_claimed_at_one_moment_go_by_id(store: OpenStore) -> None:
    for job_id in ["c", "a", "b"]:
        await claim_of(store.queue, job_id)
    assert ids([running.job for running in await store.queue.running()]) == ["a", "b", "c"]


async def test_running_shows_a_lapsed_job_as_it_is_until_a_claim_notices_it(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.renew(claim, phase=Phase.PARSING, fraction=0.5)
    [held] = await store.queue.running()
    store.clock.advance(RULES.lease_s - 0.001)
    assert await store.queue.running() == [held]
    store.clock.advance(0.001)
    assert await store.queue.running() == [replace(held, lapsed=True)]
    await claimed(store.queue, "v")
    [again] = await store.queue.running()
    assert (again.worker_id, again.job.attempt, again.phase, again.fraction) == ("v", 2, None, 0)
    assert (again.claimed_at, again.lapsed) == (store.clock.now(), False)


async def test_running_changes_nothing(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    await store.queue.enqueue("p", FLASK)
    store.clock.advance(DAY_S + 1)
    assert len(await store.queue.running()) == 1
    assert ids(await store.queue.pending()) == ["p"]
    assert await store.queue.history() == []
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE))  # its lapse was not noticed


async def test_job_that_waits_or_has_ended_does_not_run(store: OpenStore) -> None:
    for number, ending in enumerate(ENDINGS.values()):
        await store.queue.enqueue(f"job-{number}", repo(number))
        assert list(await store.queue.running()) == []
        claim = await claimed(store.queue)
        assert ids([running.job for running in await store.queue.running()]) == [f"job-{number}"]
        await ending(store.queue, claim)
        assert list(await store.queue.running()) == []


async def test_empty_queue_has_nothing_pending_or_running_and_no_history(store: OpenStore) -> None:
    assert list(await store.queue.pending()) == []
    assert list(await store.queue.running()) == []
    assert list(await store.queue.history()) == []


async def test_history_keeps_the_latest_hundred_newest_first(store: OpenStore) -> None:
    for number in range(103):
        await store.queue.enqueue(f"job-{number}", repo(number))
        await end(store.queue, await claimed(store.queue), JobState.COMPLETE)
    expected = [f"job-{number}" for number in range(102, 2, -1)]
    assert ids(await store.queue.history()) == expected
    assert ids(await store.queue.history(100)) == expected
    assert ids(await store.queue.history(1)) == ["job-102"]


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_limit_out_of_range_is_refused(store: OpenStore, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        await store.queue.history(limit)


async def test_entry_that_cannot_be_read_is_left_out_and_hides_no_other(store: OpenStore) -> None:
    if store.spoil_history is None:
        pytest.skip("this store keeps objects, which cannot become unreadable")
    for job_id in "abc":
        await end(store.queue, await claim_of(store.queue, job_id), JobState.COMPLETE)
        if job_id == "b":
            await store.spoil_history()
    assert ids(await store.queue.history()) == ["c", "a"]
    assert ids(await store.queue.history(2)) == ["c", "a"]
    assert (await store.queue.get("b")).record is None
    for number in range(RULES.history_length):
        await end(store.queue, await claim_of(store.queue, f"x{number}"), JobState.FAILED)
    assert len(await store.queue.history()) == RULES.history_length


def doors(store: OpenStore) -> list[JobQueue]:
    """Return the queue four times over, as four processes have it, if the store can be shared by processes."""
    return [store.queue, *(store.peer() for _ in range(3) if store.peer)]


# the whole


@pytest.mark.parametrize("off_s", [-DAY_S, DAY_S])
async def test_callers_whose_clocks_are_a_day_off_change_nothing(store: OpenStore, off_s: int) -> None:
    wrong, wrong_otherwise = (ManualClock(START + timedelta(seconds=s)) for s in (off_s, -off_s))
    first = await submit_job(FLASK, "", queue=store.queue, clock=wrong)
    second = await submit_job(CLICK, "", queue=store.queue, clock=wrong_otherwise)
    assert (first.job.submitted_at, second.job.submitted_at) == (START, START)
    store.clock.advance(DAY_S - 1)
    claim = await claimed(store.queue)
    assert claim.job.id == first.job.id
    store.clock.advance(RULES.lease_s - 1)
    assert await store.queue.renew(claim, phase=Phase.CLONING, fraction=0) is Renewal.OK
    store.clock.advance(RULES.lease_s - 1)
    assert await store.queue.claim("v") is None
    assert (await store.queue.get(second.job.id)).job.state is JobState.SKIPPED
    await store.queue.complete(claim, record_of(claim, JobState.COMPLETE, at=wrong.now()))
    newest, before = await store.queue.history()
    assert (newest.job_id, newest.timestamp) == (first.job.id, wrong.now())  # it says what the worker's clock showed
    assert (before.job_id, before.timestamp) == (second.job.id, store.clock.now())


async def test_store_gives_a_sign_of_life(store: OpenStore) -> None:
    await store.queue.check()


async def test_every_call_says_that_the_store_does_not_answer(store: OpenStore) -> None:
    if store.cut_off is None:
        pytest.skip("this store always answers")
    claim = await claim_of(store.queue)
    await store.cut_off()
    calls: list[Awaitable[object]] = [
        store.queue.enqueue("b", FLASK),
        store.queue.claim("w"),
        store.queue.renew(claim, phase=Phase.CLONING, fraction=0),
        *(ending(store.queue, claim) for ending in ENDINGS.values()),
        store.queue.cancel("a"),
        store.queue.get("a"),
        store.queue.pending(),
        store.queue.running(),
        store.queue.history(),
        store.queue.issue_token(),
        store.queue.issue_token(above=7),
        store.queue.check(),
    ]
    for call in calls:
        with pytest.raises(JobQueueUnavailableError):
            await call


async def test_everything_survives_a_restart_of_the_store(store: OpenStore) -> None:
    if store.reopen is None:
        pytest.skip("this store ends with its process")
    await end(store.queue, await claim_of(store.queue, "d"), JobState.COMPLETE)
    retried = await claim_of(store.queue, "r")
    await store.queue.fail(retried, record_of(retried, JobState.FAILED), retry=True)
    running = await claim_of(store.queue, "a")
    await store.queue.renew(running, phase=Phase.TRAINING, fraction=0.25)
    await store.queue.cancel("a")
    await store.queue.enqueue("b", FLASK)
    views = [await store.queue.get(job_id) for job_id in "drab"]
    claims = await store.queue.running()
    await store.reopen()
    assert await store.queue.running() == claims
    assert [await store.queue.get(job_id) for job_id in "drab"] == views
    assert ids(await store.queue.pending()) == ["b", "r"]
    assert await store.queue.issue_token() > running.token
    await store.queue.cancelled(running, record_of(running, JobState.CANCELLED))


async def test_clock_that_steps_back_a_day_loses_nothing(store: OpenStore) -> None:
    claim = await claim_of(store.queue)
    store.clock.advance(-DAY_S)
    await store.queue.enqueue("b", FLASK)
    assert (await claimed(store.queue)).job.id == "b"
    assert await store.queue.renew(claim, phase=Phase.CLONING, fraction=0) is Renewal.OK
    store.clock.advance(RULES.lease_s)
    assert sorted(ids([(await claimed(store.queue)).job for _ in range(2)])) == ["a", "b"]


@pytest.mark.parametrize("rounds", [3, pytest.param(1000, marks=pytest.mark.long)])
async def test_fifty_submitters_at_once_never_make_more_jobs_than_the_cap(store: OpenStore, rounds: int) -> None:
    queues = doors(store)
    for number in range(rounds):
        names = [f"{number}-{n}" for n in range(50)]
        calls = [queues[n % len(queues)].enqueue(name, RepoUrl(f"github.com/o/{name}")) for n, name in enumerate(names)]
        *answers, seen_meanwhile = await asyncio.gather(*calls, queues[-1].pending(), return_exceptions=True)
        assert isinstance(seen_meanwhile, Sequence)
        assert len(seen_meanwhile) <= RULES.cap
        refused = [answer for answer in answers if isinstance(answer, QueueFullError)]
        accepted = [answer for answer in answers if isinstance(answer, Enqueued)]
        assert (len(accepted), len(refused)) == (RULES.cap, 50 - RULES.cap)
        assert sorted(answer.position for answer in accepted) == list(range(1, RULES.cap + 1))
        pending = await store.queue.pending()
        assert sorted(ids(pending)) == sorted(answer.job.id for answer in accepted)
        for job in pending:
            await store.queue.cancel(job.id)


async def test_hundred_submissions_of_one_address_at_once_make_one_job(store: OpenStore) -> None:
    queues = doors(store)
    answers = await asyncio.gather(*(queues[n % len(queues)].enqueue(f"job-{n}", FLASK) for n in range(100)))
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.job.id for answer in answers}) == 1
    assert len(await store.queue.pending()) == 1


async def test_workers_that_claim_at_once_never_get_the_same_job_or_token(store: OpenStore) -> None:
    queues = doors(store)
    for number in range(RULES.cap):
        await store.queue.enqueue(f"job-{number}", repo(number))
    answers = await asyncio.gather(*(queues[n % len(queues)].claim(f"w{n}") for n in range(20)))
    claims = [claim for claim in answers if claim is not None]
    assert sorted(claim.job.id for claim in claims) == [f"job-{number}" for number in range(10)]
    assert len({claim.token for claim in claims}) == len(claims)


# requirements, by their numbers

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(
    lambda name: ".." not in name and not name.lower().endswith(".git")
)
SPELLINGS = st.sampled_from(
    ["{h}/{u}/{r}", "https://{h}/{u}/{r}", "https://{h}/{u}/{r}.git", "https://{h}/{u}/{r}/", "git@{h}:{u}/{r}.git"]
)
ADDRESSES = st.builds(
    lambda spelling, host, user, name: spelling.format(h=host, u=user, r=name),
    *(SPELLINGS, st.sampled_from(["github.com", "GitHub.com", "gitlab.com"]), NAMES, NAMES),
)


@PER_STORE
@settings(max_examples=100)
@given(addresses=st.lists(ADDRESSES, min_size=1, max_size=6))
def test_property_01_valid_url_that_was_submitted_is_in_the_queue_and_answered_with_id_and_position(
    opener: Opener, addresses: list[str]
) -> None:
    async def scenario() -> None:
        async with opener(RULES) as store:
            line: list[RepoUrl] = []
            for address in addresses:
                repo_url = RepoUrl.parse(address)
                answer = await submit_job(repo_url, "", queue=store.queue, clock=store.clock)
                assert answer.created is (repo_url not in line)
                line += [repo_url] if answer.created else []
                assert answer.position == line.index(repo_url) + 1
                pending = await store.queue.pending()
                assert [job.repo for job in pending] == line
                assert pending[answer.position - 1].id == answer.job.id
                assert (await store.queue.get(answer.job.id)).position == answer.position

    asyncio.run(scenario())


@PER_STORE
@settings(max_examples=100)
@given(endings=st.lists(st.sampled_from(list(JobState)[2:]), min_size=101, max_size=104), length=st.integers(1, 100))
def test_property_10_history_holds_the_latest_records(opener: Opener, endings: list[JobState], length: int) -> None:
    async def scenario() -> None:
        # 100 records where that is quick; a SQLite file is written once a step, so fewer there.
        long_enough = endings if opener is STORES["memory"] else endings[: length // 4 + 5]
        kept = 100 if opener is STORES["memory"] else length // 4 + 1
        async with opener(QueueRules(history_length=kept)) as store:
            for number, state in enumerate(long_enough):
                await store.queue.enqueue(f"job-{number}", repo(number))
                if state is JobState.SKIPPED:
                    store.clock.advance(DAY_S + 1)
                    assert await store.queue.claim("w") is None
                else:
                    await end(store.queue, await claimed(store.queue), state)
            latest = list(enumerate(long_enough))[::-1][:kept]
            history = await store.queue.history()
            assert [(record.job_id, record.status) for record in history] == [(f"job-{n}", s) for n, s in latest]

    asyncio.run(scenario())


@PER_STORE
@settings(max_examples=100)
@given(cap=st.integers(1, 12), submitted=st.lists(st.integers(0, 20), max_size=30))
def test_property_16_cap_is_enforced(opener: Opener, cap: int, submitted: list[int]) -> None:
    async def scenario() -> None:
        async with opener(QueueRules(cap=cap)) as store:
            accepted: list[int] = []
            for call, number in enumerate(submitted):
                if number in accepted:
                    assert not (await store.queue.enqueue(f"call-{call}", repo(number))).created
                elif len(accepted) == cap:
                    with pytest.raises(QueueFullError):
                        await store.queue.enqueue(f"call-{call}", repo(number))
                else:
                    accepted.append(number)
                    answer = await store.queue.enqueue(f"call-{call}", repo(number))
                    assert (answer.created, answer.position, answer.pending) == (True, len(accepted), len(accepted))
            assert [job.repo for job in await store.queue.pending()] == [repo(number) for number in accepted]

    asyncio.run(scenario())


@PER_STORE
@settings(max_examples=100)
@given(ttl_s=st.integers(1, 2 * DAY_S), pauses_s=st.lists(st.integers(0, DAY_S), min_size=1, max_size=8))
def test_property_18_stale_jobs_are_skipped_and_recorded(opener: Opener, ttl_s: int, pauses_s: list[int]) -> None:
    async def scenario() -> None:
        async with opener(QueueRules(ttl_s=ttl_s)) as store:
            for number, pause_s in enumerate(pauses_s):
                await store.queue.enqueue(f"job-{number}", repo(number))
                store.clock.advance(pause_s)
            ages = {f"job-{n}": sum(pauses_s[n:]) for n in range(len(pauses_s))}
            stale = [job_id for job_id, age_s in ages.items() if age_s > ttl_s]
            claims = []
            while claim := await store.queue.claim("w"):
                claims.append(claim.job.id)
            assert claims == [job_id for job_id in ages if job_id not in stale]
            history = await store.queue.history()
            assert sorted(ids(history)) == sorted(stale)
            assert {record.status for record in history} <= {JobState.SKIPPED}
            for record in history:
                assert record.reason.startswith("waited for ")

    asyncio.run(scenario())
