"""Random histories of calls, on every queue and on a plain Python model that shares no code with them.

The short form runs always; `make test-long` runs 500 histories of up to 80 steps on each queue.
`--hypothesis-seed=N` runs the same ones again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alexandria.domain.job import TRANSITIONS, JobState, Phase
from alexandria.ports.job_queue import Claim, JobNotFoundError, LeaseLostError, QueueFullError, QueueRules
from contract.queues import STORES, Opener, OpenStore, ids, record_of, repo

T = TypeVar("T")

CAP, TTL_S, LEASE_S, ATTEMPTS, DELAY_S, KEPT = 3, 1000, 100, 3, 30, 4
RULES = QueueRules(CAP, TTL_S, LEASE_S, ATTEMPTS, DELAY_S, KEPT)
FULL, LOST, UNKNOWN = "full", "lost", "unknown"


@dataclass
class ModelJob:
    what: tuple[int, str]
    at: int
    state: str = "queued"
    attempt: int = 0
    token: int = 0
    given_up_by: str = ""  # the call that ended the claim `token`
    claimed: int = 0
    lease_ends: int = 0
    due: int | None = None
    cancel: bool = False
    seen: str = "queued"  # what the queue said of it last


@dataclass
class Model:
    """What a queue should do, in seconds since its start."""

    now: int = 0
    tokens: int = 0
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    line: list[str] = field(default_factory=list)  # those that may run
    done: list[str] = field(default_factory=list)  # newest first

    def waiting(self) -> list[str]:
        later = [(job.due, id_) for id_, job in self.jobs.items() if job.state == "queued" and id_ not in self.line]
        return self.line + [id_ for _, id_ in sorted(later)]

    def running(self) -> list[tuple[str, bool]]:
        jobs = [(job.claimed, id_) for id_, job in self.jobs.items() if job.state == "running"]
        return [(id_, self.jobs[id_].lease_ends <= self.now) for _, id_ in sorted(jobs)]

    def close(self, id_: str, state: str) -> None:
        self.jobs[id_].state = state
        self.line = [other for other in self.line if other != id_]
        self.done.insert(0, id_)
        for forgotten in self.done[KEPT:]:
            del self.jobs[forgotten]
        del self.done[KEPT:]

    def skip_stale(self) -> None:
        for id_ in self.waiting():
            if self.now - self.jobs[id_].at > TTL_S:
                self.close(id_, "skipped")

    def enqueue(self, id_: str, what: tuple[int, str]) -> Any:
        if id_ in self.jobs and self.jobs[id_].what != what:
            return ValueError
        self.skip_stale()
        same = [other for other, job in self.jobs.items() if job.what == what and job.state in ("queued", "running")]
        found = id_ if id_ in self.jobs else same[0] if same else None
        if found is None:
            if len(self.waiting()) >= CAP:
                return FULL
            self.jobs[id_] = ModelJob(what, self.now)
            self.line.append(id_)
            found = id_
        waiting = self.waiting()
        return found, found == id_, waiting.index(found) + 1 if found in waiting else 0, len(waiting)

    def claim(self) -> Any:
        lapsed = [(j.lease_ends, i) for i, j in self.jobs.items() if j.state == "running" and j.lease_ends <= self.now]
        front = []
        for _, id_ in sorted(lapsed):
            job = self.jobs[id_]
            if job.cancel:
                self.close(id_, "cancelled")
            elif job.attempt == ATTEMPTS:
                self.close(id_, "failed")
            else:
                job.state = "queued"
                front.append(id_)
        self.line = front + self.line
        due = [(j.due, i) for i, j in self.jobs.items() if j.state == "queued" and j.due is not None]
        for moment, id_ in sorted(due):
            if moment <= self.now:
                self.jobs[id_].due = None
                self.line.append(id_)
        self.skip_stale()
        if not self.line:
            return None
        id_ = self.line.pop(0)
        job = self.jobs[id_]
        self.tokens += 1
        job.state, job.token, job.given_up_by, job.cancel = "running", self.tokens, "", False
        job.attempt, job.claimed, job.lease_ends = job.attempt + 1, self.now, self.now + LEASE_S
        return id_, self.tokens, job.attempt

    def holds(self, id_: str, token: int) -> bool:
        return id_ in self.jobs and self.jobs[id_].state == "running" and self.jobs[id_].token == token

    def is_repetition(self, id_: str, token: int, call: str) -> bool:
        return id_ in self.jobs and self.jobs[id_].token == token and self.jobs[id_].given_up_by == call

    def renew(self, id_: str, token: int) -> Any:
        if not self.holds(id_, token):
            return LOST
        self.jobs[id_].lease_ends = self.now + LEASE_S
        return "cancel" if self.jobs[id_].cancel else "ok"

    def finish(self, id_: str, token: int, call: str, state: str) -> Any:
        if self.is_repetition(id_, token, call):
            return None
        if not self.holds(id_, token):
            return LOST
        self.jobs[id_].given_up_by = call
        self.close(id_, state)
        return None

    def fail(self, id_: str, token: int, retry: bool) -> Any:
        if retry and self.is_repetition(id_, token, "retried"):
            return "queued"
        if self.is_repetition(id_, token, "failed"):
            return "failed"
        if not self.holds(id_, token):
            return LOST
        job = self.jobs[id_]
        if retry and not job.cancel and job.attempt < ATTEMPTS:
            job.state, job.given_up_by = "queued", "retried"
            job.due = self.now + DELAY_S * 2 ** (job.attempt - 1)
            return "queued"
        job.given_up_by = "failed"
        self.close(id_, "failed")
        return "failed"

    def release(self, id_: str, token: int) -> Any:
        if self.is_repetition(id_, token, "released"):
            return None
        if not self.holds(id_, token):
            return LOST
        job = self.jobs[id_]
        job.given_up_by = "released"
        job.attempt -= 1
        if job.cancel:
            self.close(id_, "cancelled")
        else:
            job.state = "queued"
            self.line.insert(0, id_)
        return None

    def cancel(self, id_: str) -> Any:
        if id_ not in self.jobs:
            return UNKNOWN
        job = self.jobs[id_]
        if job.state == "queued":
            self.close(id_, "cancelled")
        elif job.state == "running":
            job.cancel = True
        return job.state, job.cancel and job.state == "running"


def _reachable() -> set[tuple[str, str]]:
    """Return the pairs of states with a way of the table, of any length, from the first to the second."""
    pairs = {(state, state) for state in JobState} | {(before, after) for (before, _), after in TRANSITIONS.items()}
    for via in JobState:
        pairs |= {(a, d) for a, b in pairs if b is via for c, d in pairs if c is via}
    return {(str(a), str(b)) for a, b in pairs}


REACHABLE = _reachable()


class QueueHistories(RuleBasedStateMachine):
    """Makes the same calls to a queue and to the model, and compares every answer and all that is to be seen."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        # What a call answers is compared at every step of every queue. To look at all the rest takes milliseconds where
        # each look is a request, hours in the long form: seldom there, and job by job only at those that should have
        # changed. In memory it costs nothing, and the scripts of "upstash" are those of "redis".
        self.looks_at_all = opener is STORES["memory"]
        self.looks_every = 4 if opener is STORES["upstash"] else 1
        self.steps = 0
        self.looked: dict[str, ModelJob] = {}
        self.loop = asyncio.new_event_loop()  # a Runner sets the handler of Ctrl-C anew for each call
        self.open_until_teardown = AsyncExitStack()
        self.store: OpenStore = self.wait(self.open_until_teardown.enter_async_context(opener(RULES)))
        self.model = Model()
        self.submitted: list[tuple[str, tuple[int, str]]] = []
        self.claims: list[Claim] = []
        self.accepted: set[str] = set()

    def wait(self, answer: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(answer)

    def answer(self, call: Coroutine[Any, Any, T]) -> T | str:
        try:
            return self.wait(call)
        except QueueFullError:
            return FULL
        except LeaseLostError:
            return LOST
        except JobNotFoundError:
            return UNKNOWN

    def enqueue(self, id_: str, what: tuple[int, str]) -> None:
        expected = self.model.enqueue(id_, what)
        answer = self.answer(self.store.queue.enqueue(id_, repo(what[0]), what[1]))
        if isinstance(answer, str):
            assert answer == expected
        else:
            assert (answer.job.id, answer.created, answer.position, answer.pending) == expected
            assert not (id_ not in self.accepted and answer.created and answer.pending > CAP)
            self.accepted.add(answer.job.id)

    @rule(number=st.integers(0, 5), ref=st.sampled_from(["", "main"]))
    def submit_one(self, number: int, ref: str) -> None:
        self.submit(number, ref)

    def submit(self, number: int, ref: str) -> None:
        self.submitted.append((f"job-{len(self.submitted)}", (number, ref)))
        self.enqueue(*self.submitted[-1])

    @precondition(lambda self: self.submitted)
    @rule(back=st.integers(0, 3))
    def submit_again_after_a_lost_answer(self, back: int) -> None:
        self.enqueue(*self.submitted[-1 - back % len(self.submitted)])

    @rule(worker=st.sampled_from(["v", "w"]))
    def claim_one(self, worker: str) -> None:
        self.claim(worker)

    def claim(self, worker: str) -> None:
        expected = self.model.claim()
        claim = self.wait(self.store.queue.claim(worker))
        if claim is None:
            assert expected is None
        else:
            assert (claim.job.id, claim.token, claim.job.attempt) == expected
            assert claim.token > max((earlier.token for earlier in self.claims), default=0)
            self.claims.append(claim)

    @rule(numbers=st.lists(st.integers(0, 5), min_size=2, max_size=CAP, unique=True))
    def start_several(self, numbers: list[int]) -> None:
        for number in numbers:
            self.submit(number, "")
        for _ in numbers:
            self.claim("w")

    def one_of_the_claims(self, back: int) -> Claim:
        return self.claims[-1 - back % len(self.claims)]

    @precondition(lambda self: self.claims)
    @rule(back=st.integers(0, 4), phase=st.sampled_from(Phase), percent=st.integers(0, 100))
    def renew(self, back: int, phase: Phase, percent: int) -> None:
        claim = self.one_of_the_claims(back)
        answer = self.answer(self.store.queue.renew(claim, phase=phase, fraction=percent / 100))
        assert answer == self.model.renew(claim.job.id, claim.token)

    @precondition(lambda self: self.claims)
    @rule(back=st.integers(0, 4), how=st.sampled_from(["complete", "cancelled", "fail", "fail", "release"]))
    def end_an_attempt(self, back: int, how: str) -> None:
        claim = self.one_of_the_claims(back)
        id_, token, queue = claim.job.id, claim.token, self.store.queue
        match how:
            case "complete":
                answer: object = self.answer(queue.complete(claim, record_of(claim, JobState.COMPLETE)))
                assert answer == self.model.finish(id_, token, "completed", "complete")
            case "cancelled":
                answer = self.answer(queue.cancelled(claim, record_of(claim, JobState.CANCELLED)))
                assert answer == self.model.finish(id_, token, "cancelled", "cancelled")
            case "fail":
                retry = back < 4
                answer = self.answer(queue.fail(claim, record_of(claim, JobState.FAILED), retry=retry))
                assert answer == self.model.fail(id_, token, retry)
            case "release":
                assert self.answer(queue.release(claim)) == self.model.release(id_, token)

    @precondition(lambda self: len(self.claims) > 1)
    @rule()
    def fail_two_at_once(self) -> None:
        self.end_an_attempt(0, "fail")
        self.end_an_attempt(1, "fail")

    @precondition(lambda self: self.submitted)
    @rule(back=st.integers(0, 8))
    def cancel(self, back: int) -> None:
        id_, _ = self.submitted[-1 - back % len(self.submitted)]
        view = self.answer(self.store.queue.cancel(id_))
        seen = view if isinstance(view, str) else (view.job.state, view.cancel_requested)
        assert seen == self.model.cancel(id_)

    @precondition(lambda self: self.claims)
    @rule(back=st.integers(0, 4))
    def crash(self, back: int) -> None:
        """A worker forgets its claim: nobody will end it."""
        self.claims.remove(self.one_of_the_claims(back))

    @rule(seconds=st.sampled_from([1, 5, DELAY_S, 2 * DELAY_S, LEASE_S - 1, LEASE_S, TTL_S // 2, TTL_S]))
    def let_time_pass(self, seconds: int) -> None:
        self.model.now += seconds
        self.store.clock.advance(seconds)

    @rule(
        what=st.sampled_from(["a token is issued", "the clock steps back", "the store restarts"]),
        above=st.sampled_from([0, 0, 5, 50]),
    )
    def something_rare_happens(self, what: str, above: int) -> None:
        if what == "a token is issued":
            self.model.tokens = max(self.model.tokens, above) + 1
            assert self.wait(self.store.queue.issue_token(above=above)) == self.model.tokens
        elif what == "the clock steps back":
            self.model.now -= LEASE_S
            self.store.clock.advance(-LEASE_S)
        elif self.store.reopen is not None:
            self.wait(self.store.reopen())

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        if self.steps % self.looks_every == 0:
            self.pending_running_and_history_are_those_of_the_model()
            self.no_job_is_lost_or_makes_a_move_that_is_not_in_the_table()
        self.steps += 1

    def pending_running_and_history_are_those_of_the_model(self) -> None:
        assert ids(self.wait(self.store.queue.pending())) == self.model.waiting()
        running = self.wait(self.store.queue.running())
        assert [(one.job.id, one.lapsed) for one in running] == self.model.running()
        history = self.wait(self.store.queue.history())
        expected = [(id_, self.model.jobs[id_].state) for id_ in self.model.done]
        assert [(record.job_id, record.status) for record in history] == expected
        assert len(history) <= KEPT

    def no_job_is_lost_or_makes_a_move_that_is_not_in_the_table(self) -> None:
        for id_ in [id_ for id_ in self.accepted if self.looks_at_all or self.has_changed(id_)]:
            view = self.answer(self.store.queue.get(id_))
            if isinstance(view, str):
                # It may have been recorded and pushed out of the history within one step, but not silently.
                assert id_ not in self.model.jobs
                continue
            job = self.model.jobs[id_]
            assert (view.job.state, view.job.attempt, view.cancel_requested) == (
                *(job.state, job.attempt),
                job.cancel and job.state == "running",
            )
            # Kept with the job, not by its id: what is forgotten may be submitted again, and is new then.
            assert (job.seen, str(view.job.state)) in REACHABLE
            assert (view.record is not None) is view.job.state.is_final
            job.seen = str(view.job.state)
            self.looked[id_] = replace(job)
        self.accepted &= self.model.jobs.keys()

    def has_changed(self, id_: str) -> bool:
        return self.looked.get(id_) != self.model.jobs.get(id_)

    def teardown(self) -> None:
        self.wait(self.open_until_teardown.aclose())
        self.wait(self.loop.shutdown_default_executor())
        self.loop.close()


def histories_of(opener: Opener, ended: list[object] | None = None) -> type[QueueHistories]:
    class Histories(QueueHistories):
        def __init__(self) -> None:
            super().__init__(opener)

        def teardown(self) -> None:
            if ended is not None:
                ended.append((self.submitted, self.claims, self.model))
            super().teardown()

    return Histories


def long_as(histories: int, steps: int) -> settings:
    return settings(
        max_examples=histories,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow],  # each step is compared in full
    )


@pytest.mark.parametrize("name", STORES)
def test_queue_does_what_the_model_does(name: str) -> None:
    # "upstash" runs the scripts of "redis", with a request for every call.
    run_state_machine_as_test(histories_of(STORES[name]), settings=long_as(4 if name == "upstash" else 30, 40))


@pytest.mark.long
@pytest.mark.parametrize("name", STORES)
def test_queue_does_what_the_model_does_in_500_histories(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[object] = []
    run_state_machine_as_test(histories_of(STORES[name], ended), settings=long_as(500, 80))
    with capsys.disabled():
        print(f"  {name}: {len(ended)} histories")  # noqa: T201 (a figure to report)
    assert len(ended) >= 500


def test_same_seed_makes_the_same_histories() -> None:
    def histories() -> list[object]:
        ended: list[object] = []
        seed(7)(get_state_machine_test(histories_of(STORES["memory"], ended), settings=long_as(5, 40)))()
        return ended

    first = histories()
    assert len(first) >= 5
    assert histories() == first
