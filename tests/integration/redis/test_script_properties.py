"""Properties of the Lua scripts on a fake Redis, whose keys are looked at after every step.

`fakeredis` needs no server and starts empty in half a millisecond. It runs a script ten times slower
than Valkey, so the histories of the port (`contract/test_queue_histories.py`) run on the real one;
here people and other programs write into the keys as well. The last test says where the two agree.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from alexandria.adapters.redis.job_queue import ENDED_KEY, HISTORY_KEY, JOBS_KEY, KEYS, QUEUE_KEY, TOKEN_KEY
from alexandria.adapters.redis.scripts import board_script, queue_script
from alexandria.adapters.redis.status_board import STATUS_KEY, WORKERS_KEY
from support.valkey import valkey_url

CAP, TTL_S, LEASE_S, KEPT = 3, 1000, 100, 2
RULES = {
    "cap": CAP,
    "ttl_s": TTL_S,
    "lease_us": LEASE_S * 10**6,
    "max_attempts": 2,
    "retry_delay_us": 30 * 10**6,
    "history_length": KEPT,
}
NAMES = ("enqueue", "claim", "renew", "finish", "release", "cancel", "get", "pending", "running", "adopt", "token")
START_US = 1_777_636_800_000_000

# What people and older programs may leave in a list or a hash.
GARBAGE = st.sampled_from(["", "{", "null", "5", "[]", "{}", '{"id": 5}', '{"job_id": "job-0"}', "\x00\xff", "x" * 999])


def plain(answer: Any) -> Any:
    """Return what a script answered, in one form: an empty table is `{}` from one engine and `[]` from the other."""
    if isinstance(answer, list) and not answer:
        return {}
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    if isinstance(answer, dict):
        # JSON inside JSON: its fields come in the order of a hash table, which each engine has its own.
        return {name: plain(json.loads(one) if name in {"item", "record"} else one) for name, one in answer.items()}
    return answer


# fakeredis has no `redis.sha1hex`; to the scripts its answer is a name that only has to be the element's own.
WITH_SHA1 = """
redis.sha1hex = function(text)
  return (string.gsub(text, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end
"""


def run(redis: Redis, name: str, call: dict[str, Any], now_us: int, record: str = "") -> Any:
    prelude = WITH_SHA1 if isinstance(redis, fakeredis.FakeRedis) else ""
    words = (prelude + queue_script(name), len(KEYS), *KEYS, str(now_us), json.dumps(RULES), json.dumps(call), record)
    return json.loads(cast(str, redis.execute_command("EVAL", *words)))  # type: ignore[no-untyped-call]


def a_redis() -> Redis:
    return cast(Redis, fakeredis.FakeRedis(decode_responses=True, encoding_errors="replace"))


class Scripts(RuleBasedStateMachine):
    """Calls of our programs, of workers that come late, and of people who write into the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.redis = a_redis()
        self.now_us = START_US
        self.ids = 0
        self.claims: list[tuple[str, int]] = []
        self.tokens = [0]

    def run(self, name: str, record: str = "", **call: Any) -> Any:
        """Run a script as the adapter does: what others pushed is adopted first."""
        for _ in range(100):
            answer = run(self.redis, name, call, self.now_us, record)
            if "foreign" not in answer:
                return answer
            for sha1, text in answer["foreign"]:
                match = re.search(r"github\.com/owner/\d", text)
                what = {"repo": match[0], "ref": ""} if match else {"reason": "no URL"}
                run(self.redis, "adopt", {"sha1": sha1, "id": self.new_id(), **what}, self.now_us)
        raise AssertionError("what others pushed is never done with")

    def new_id(self) -> str:
        self.ids += 1
        return f"job-{self.ids}"

    @rule(number=st.integers(0, 5), again=st.booleans())
    def enqueue(self, number: int, again: bool) -> None:
        known = self.redis.hlen(JOBS_KEY)
        full = self.redis.llen(QUEUE_KEY) >= CAP
        answer = self.run("enqueue", id=self.new_id(), repo=f"github.com/owner/{number}", ref="")
        assert not (full and self.redis.hlen(JOBS_KEY) > known)
        if again and "job" in answer:
            job = answer["job"]
            assert self.run("enqueue", id=job["id"], repo=job["repo"], ref=job["ref"])["job"] == job

    @rule()
    def claim(self) -> None:
        answer = self.run("claim", worker_id="w")
        if "job" in answer:
            self.claims.append((answer["job"]["id"], answer["job"]["token"]))
            assert answer["job"]["token"] > self.tokens[-1]
            self.tokens.append(answer["job"]["token"])

    @precondition(lambda self: self.claims)
    @rule(back=st.integers(0, 3), how=st.sampled_from(["renew", "release", "COMPLETE", "CANCEL", "FAIL", "RETRY"]))
    def work(self, back: int, how: str) -> None:
        id_, token = self.claims[-1 - back % len(self.claims)]
        if how == "renew":
            answer = self.run("renew", id=id_, token=token, phase="training", fraction="0.5")
        elif how == "release":
            answer = self.run("release", id=id_, token=token)
        else:
            state = {"COMPLETE": "complete", "CANCEL": "cancelled"}.get(how, "failed")
            event = "FAIL" if how == "RETRY" else how
            call = {"id": id_, "token": token, "event": event, "state": state, "retry": how == "RETRY"}
            answer = self.run("finish", json.dumps({"job_id": id_, "status": state}), **call)
        newest = max((t for i, t in self.claims if i == id_), default=0)
        assert token == newest or "error" in answer  # a claim that is not the current one is refused

    @precondition(lambda self: self.claims)
    @rule()
    def lapse_and_be_claimed_again(self) -> None:
        self.let_time_pass(LEASE_S)
        self.claim()

    @rule(id_=st.integers(0, 9))
    def cancel(self, id_: int) -> None:
        self.run("cancel", id=f"job-{id_}")

    @rule(seconds=st.sampled_from([1, 29, LEASE_S, TTL_S + 1, -LEASE_S]))
    def let_time_pass(self, seconds: int) -> None:
        self.now_us += seconds * 10**6

    @rule(text=st.one_of(GARBAGE, st.integers(0, 5).map(lambda number: f"https://github.com/owner/{number}")))
    def another_program_pushes(self, text: str) -> None:
        self.redis.rpush(QUEUE_KEY, text)

    @precondition(lambda self: self.redis.hlen(JOBS_KEY))
    @rule(at=st.integers(0, 5), key=st.sampled_from([QUEUE_KEY, JOBS_KEY]), text=GARBAGE)
    def somebody_copies_or_spoils_a_job(self, at: int, key: str, text: str) -> None:
        id_, entry = sorted(self.redis.hgetall(JOBS_KEY).items())[at % self.redis.hlen(JOBS_KEY)]
        if key == JOBS_KEY:
            self.redis.hset(JOBS_KEY, id_, text)
        elif '"item"' in entry:
            self.redis.lpush(QUEUE_KEY, json.loads(entry)["item"])

    @rule(text=GARBAGE, key=st.sampled_from([QUEUE_KEY, HISTORY_KEY, ENDED_KEY]))
    def somebody_empties_or_spoils_a_key(self, text: str, key: str) -> None:
        if key == QUEUE_KEY:
            self.redis.delete(QUEUE_KEY)
        elif key == HISTORY_KEY and self.redis.llen(HISTORY_KEY):
            self.redis.lset(HISTORY_KEY, 0, text)
        elif key == ENDED_KEY and self.redis.hlen(ENDED_KEY):
            self.redis.hset(ENDED_KEY, min(self.redis.hkeys(ENDED_KEY)), text)

    @invariant()
    def keys_are_in_order(self) -> None:
        waiting = [job["id"] for job in self.run("pending")["jobs"]]
        entries, ended = self.redis.hgetall(JOBS_KEY), self.redis.hgetall(ENDED_KEY)
        jobs = {id_: json.loads(text) for id_, text in entries.items()}  # `pending` has put what was unreadable aside
        running = [job for job in jobs.values() if job["state"] == "running"]
        self.no_job_is_in_two_places(jobs, waiting + [job["id"] for job in running], ended)
        held = [job["token"] for job in running]
        assert len(held) == len(set(held))
        assert int(self.redis.get(TOKEN_KEY) or 0) == self.tokens[-1] >= max(held, default=0)
        assert self.redis.llen(HISTORY_KEY) <= KEPT
        assert len(ended) <= KEPT
        assert set(self.redis.keys()) <= set(KEYS)

    def no_job_is_in_two_places(self, jobs: dict[Any, Any], seen: list[str], ended: dict[Any, Any]) -> None:
        assert sorted(seen) == sorted(jobs)
        ready = [job["item"] for job in jobs.values() if job["state"] == "queued" and "due_us" not in job]
        assert sorted(self.redis.lrange(QUEUE_KEY, 0, -1)) == sorted(ready)
        whats = [(job["repo"], job["ref"]) for job in jobs.values()]
        assert len(whats) == len(set(whats))
        assert not {id_ for id_, text in ended.items() if '"state"' in text} & jobs.keys()

    def teardown(self) -> None:
        for id_ in self.redis.hkeys(JOBS_KEY):
            assert self.run("get", id=id_)["job"]["id"] == id_
        self.let_time_pass(TTL_S + LEASE_S)
        while "job" in self.run("claim", worker_id="last"):
            pass  # what lapsed, or may still run, is handed out; the rest is too old
        assert len(self.run("running")["jobs"]) == self.redis.hlen(JOBS_KEY)


def test_scripts_keep_their_keys_in_order_whoever_writes_into_them() -> None:
    run_state_machine_as_test(
        Scripts,
        settings=settings(max_examples=100, stateful_step_count=20),
    )


CALLS = st.one_of(
    st.tuples(st.just("enqueue"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["claim", "pending", "running"]), st.just(0)),
    st.tuples(st.sampled_from(["renew", "release", "finish", "retry", "cancel", "get", "token"]), st.integers(0, 5)),
    st.tuples(st.just("time passes"), st.sampled_from([1, 30, LEASE_S, TTL_S])),
)


def arguments(name: str, number: int, step: int) -> dict[str, Any]:
    """Return the arguments of a call; a token may be right or not, which both engines must judge alike."""
    id_ = f"job-{number}"
    match name:
        case "enqueue":
            return {"id": f"job-{step}", "repo": f"github.com/owner/{number}", "ref": ""}
        case "claim":
            return {"worker_id": "w"}
        case "token":
            return {"above": number}
        case "finish" | "retry":
            ending = {"event": "FAIL", "state": "failed", "retry": name == "retry"}
            return {"id": id_, "token": number, **ending}
        case _:
            return {"id": id_, "token": number, "phase": "cloning", "fraction": "0.25"}


@settings(max_examples=100)
@given(calls=st.lists(CALLS, max_size=25))
def test_fake_and_real_server_answer_alike_but_for_empty_tables_and_the_order_of_fields(
    calls: list[tuple[str, int]],
) -> None:
    # They also differ in `redis.sha1hex`, which the fake one lacks (above), and in speed.
    fake = a_redis()
    with Redis.from_url(valkey_url(), decode_responses=True) as real:
        real.flushall()
        now_us = START_US
        for step, (name, number) in enumerate(calls):
            if name == "time passes":
                now_us += number * 10**6
                continue
            call = arguments(name, number, step)
            script, record = ("finish", '{"job_id": "x"}') if name in {"finish", "retry"} else (name, "")
            assert plain(run(fake, script, call, now_us, record)) == plain(run(real, script, call, now_us, record))
        for id_ in real.hkeys(JOBS_KEY):
            assert plain(json.loads(fake.hget(JOBS_KEY, id_) or "")) == plain(
                json.loads(real.hget(JOBS_KEY, id_) or "")
            )
        assert fake.llen(QUEUE_KEY) == real.llen(QUEUE_KEY)
        assert sorted(fake.hkeys(ENDED_KEY)) == sorted(real.hkeys(ENDED_KEY))


@settings(max_examples=100)
@given(
    entries=st.dictionaries(st.sampled_from("abc"), GARBAGE),
    workers=st.lists(st.sampled_from("cde"), min_size=1, max_size=4),
)
def test_report_that_cannot_be_read_is_dropped_and_stops_no_worker(entries: dict[str, str], workers: list[str]) -> None:
    redis = a_redis()
    for worker_id, text in entries.items():
        redis.hset(WORKERS_KEY, worker_id, text)
    for number, worker_id in enumerate(workers, 1):
        entry = {"worker_id": worker_id, "status": "Idle", "ttl_us": 60_000_000, "grace_us": 0}
        words = (board_script(), 2, STATUS_KEY, WORKERS_KEY, str(START_US), json.dumps(entry))
        assert redis.execute_command("EVAL", *words) == number  # type: ignore[no-untyped-call]
    assert sorted(redis.hkeys(WORKERS_KEY)) == sorted(set(workers))
    assert redis.get(STATUS_KEY) == "Idle"


@pytest.mark.parametrize("source", [*(queue_script(name) for name in NAMES), board_script()], ids=[*NAMES, "publish"])
def test_every_key_that_a_script_names_is_a_declared_one(source: str) -> None:
    used = set(re.findall(r"redis\.p?call\(\s*'(?:[A-Z]+)'\s*,\s*([^,)]+)", source))
    declared = set(re.search(r"local ([A-Z, ]+) = KEYS", source)[1].split(", "))  # type: ignore[index]
    assert used
    assert used <= declared
    assert "'TIME'" in source  # the only command without a key
