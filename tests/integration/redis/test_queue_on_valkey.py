"""What only a queue on a real Redis server does: foreign tasks, keys, commands, the server's clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import cast

import pytest

from alexandria.adapters.redis.job_queue import ENDED_KEY, HISTORY_KEY, KEYS, QUEUE_KEY, TOKEN_KEY, RedisJobQueue
from alexandria.adapters.redis.status_board import STATUS_KEY, WORKERS_KEY, RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import JobQueueError, JobQueueUnavailableError, QueueRules
from alexandria.ports.script_store import ScriptStore, ScriptStoreRefusedError
from alexandria.ports.status_board import WorkerReport
from contract.queues import FLASK, SHORT_JOB_TTL_S, WORKERS, ids, open_redis, record_of, repo, short_job
from support.valkey import valkey_url

RULES = QueueRules(history_length=5)


@pytest.fixture
async def store() -> AsyncIterator[TcpScriptStore]:
    async with TcpScriptStore(valkey_url()) as opened:
        await opened.command("FLUSHALL")
        yield opened


@pytest.fixture
def queue(store: TcpScriptStore) -> RedisJobQueue:
    numbers = count()
    return RedisJobQueue(store, RULES, new_id=lambda: f"adopted-{next(numbers)}")


async def calls(store: TcpScriptStore) -> int:
    """Return how many commands the server has run, those inside scripts counted, those of this counting not."""
    stats = str(await store.command("INFO", "commandstats"))
    counts = [line.removeprefix("cmdstat_").split(":calls=") for line in stats.splitlines() if "calls=" in line]
    own = ("info", "config", "client", "hello")
    return sum(int(rest.split(",")[0]) for name, rest in counts if not name.startswith(own))


async def cost(store: TcpScriptStore, call: Callable[[], Awaitable[object]]) -> int:
    before = await calls(store)
    await call()
    return await calls(store) - before


@pytest.mark.parametrize(
    "task",
    [
        "https://github.com/pallets/flask",
        " github.com/pallets/flask.git ",
        '{"repo_url": "https://github.com/pallets/flask"}',
        '{"url": "git@github.com:pallets/flask.git", "submitted": "yesterday"}',
    ],
)
async def test_task_of_an_older_program_becomes_a_job_in_its_place(
    store: TcpScriptStore, queue: RedisJobQueue, task: str
) -> None:
    await queue.enqueue("first", repo(1))
    await store.command("RPUSH", QUEUE_KEY, task)
    enqueued = await queue.enqueue("third", repo(3))
    assert (enqueued.position, enqueued.pending) == (3, 3)
    assert ids(await queue.pending()) == ["first", "adopted-0", "third"]
    job = (await queue.get("adopted-0")).job
    assert (job.repo, job.ref, job.ttl_s, job.state) == (FLASK, "", RULES.ttl_s, JobState.QUEUED)


async def test_idle_worker_finds_a_bare_url(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    assert await queue.claim("w") is None
    await store.command("RPUSH", QUEUE_KEY, "https://github.com/pallets/flask")
    claim = await queue.claim("w")
    assert claim is not None
    assert claim.job.repo == FLASK
    await queue.complete(claim, record_of(claim, JobState.COMPLETE))
    assert await store.command("EXISTS", QUEUE_KEY) == 0


async def test_url_that_was_pushed_twice_is_one_job(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    await store.command("RPUSH", QUEUE_KEY, *["https://github.com/pallets/flask"] * 3)
    assert len(await queue.pending()) == 1
    assert await store.command("LLEN", QUEUE_KEY) == 1


@pytest.mark.parametrize(
    "task",
    [
        "file:///etc/passwd",
        "",
        "{",
        "[" * 5000,
        '{"repo_url": 5}',
        "{}",
        "\u202ehttps://x",
        "a\0b",
        '{"job_id":"first"}',
    ],
)
async def test_task_that_cannot_be_a_job_is_recorded_and_blocks_nothing(
    store: TcpScriptStore, queue: RedisJobQueue, task: str
) -> None:
    await store.command("RPUSH", QUEUE_KEY, task)
    await queue.enqueue("a", FLASK)
    claim = await queue.claim("w")
    assert claim is not None
    assert claim.job.id == "a"
    [record] = await queue.history()
    assert (record.job_id, record.status) == ("adopted-0", JobState.FAILED)
    assert "not a repository URL" in record.reason
    assert await store.command("LLEN", QUEUE_KEY) == 0


async def test_list_that_was_emptied_by_hand_loses_no_job(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    await queue.enqueue("a", FLASK)
    await queue.enqueue("b", repo(1))
    await store.command("DEL", QUEUE_KEY)
    claims = [await queue.claim("w"), await queue.claim("w")]
    assert sorted(claim.job.id for claim in claims if claim) == ["a", "b"]


async def test_list_reads_well_with_redis_cli(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    await queue.enqueue("a", FLASK, "main")
    task = json.loads(str(await store.command("LINDEX", QUEUE_KEY, 0)))
    submitted_at = datetime.fromisoformat(task.pop("submitted_at"))
    assert task == {"job_id": "a", "repo_url": FLASK.url, "ref": "main"}
    assert submitted_at == (await queue.get("a")).job.submitted_at


async def test_key_of_another_type_is_reported_and_not_called_unavailable(
    store: TcpScriptStore, queue: RedisJobQueue
) -> None:
    await store.command("SET", QUEUE_KEY, "not a list")
    with pytest.raises(JobQueueError) as refusal:
        await queue.enqueue("a", FLASK)
    assert not isinstance(refusal.value, JobQueueUnavailableError)


async def test_servers_clock_judges_where_its_scripts_may_read_it(store: TcpScriptStore) -> None:
    queue = RedisJobQueue(store, QueueRules(lease_s=0.001), new_id=str)
    board = RedisStatusBoard(store)
    job = (await queue.enqueue("a", FLASK)).job
    assert abs(job.submitted_at - datetime.now(UTC)) < timedelta(minutes=1)
    first = await queue.claim("w")
    assert first is not None
    while (second := await queue.claim("v")) is None:
        pass  # each turn asks the server, whose clock goes on
    assert (second.job.id, second.job.attempt) == ("a", 2)
    await board.publish(WorkerReport("w", WorkerStatus.idle()), ttl_s=3600)
    assert await board.status() == WorkerStatus.idle()


async def test_key_for_people_holds_the_word_of_all_workers_and_expires(store: TcpScriptStore) -> None:
    board = RedisStatusBoard(store)
    busy = WorkerStatus.training(FLASK.url)
    await board.publish(WorkerReport("a", busy), ttl_s=3600)
    await board.publish(WorkerReport("b", WorkerStatus.idle()), ttl_s=3600)
    assert await store.command("GET", STATUS_KEY) == busy.text
    remaining = await store.command("PTTL", STATUS_KEY)
    assert isinstance(remaining, int)
    assert 0 < remaining <= 3_600_000
    await board.publish(WorkerReport("a", WorkerStatus.offline()), ttl_s=3600)
    assert await store.command("GET", STATUS_KEY) == "Idle"
    await board.publish(WorkerReport("b", WorkerStatus.offline()), ttl_s=3600)
    assert await store.command("EXISTS", STATUS_KEY, WORKERS_KEY) == 0


async def test_user_who_may_only_use_the_named_keys_can_do_everything(store: TcpScriptStore) -> None:
    keys = [f"~{key}" for key in (*KEYS, STATUS_KEY, WORKERS_KEY)]
    await store.command("ACL", "SETUSER", "worker", "reset", "on", ">a-password", "+@all", *keys)
    async with TcpScriptStore(valkey_url().replace("//", "//worker:a-password@")) as narrow:
        queue, board = RedisJobQueue(narrow, RULES, new_id=iter("cdef").__next__), RedisStatusBoard(narrow)
        await queue.enqueue("a", FLASK)
        await queue.enqueue("b", repo(1))
        claim = await queue.claim("w")
        assert claim is not None
        await queue.renew(claim, phase=Phase.PARSING, fraction=0.5)
        await queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
        again = await queue.claim("w")
        assert again is not None
        await queue.release(again)
        await queue.cancel("b")
        await narrow.command("RPUSH", QUEUE_KEY, "https://github.com/owner/pushed", "nonsense")
        assert len(await queue.pending()) == 2
        assert [await queue.running(), len(await queue.history())] == [[], 2]
        await board.publish(WorkerReport("w", WorkerStatus.idle()), ttl_s=60)
        assert await board.status() == WorkerStatus.idle()
        with pytest.raises(ScriptStoreRefusedError, match="No permissions"):
            await narrow.command("GET", "another-key")


async def test_report_that_cannot_be_read_is_left_out_and_hides_no_other(store: TcpScriptStore) -> None:
    board = RedisStatusBoard(store)
    await board.publish(WorkerReport("w", WorkerStatus.idle()), ttl_s=60)
    for number, text in enumerate(["", "{", "5", "[]", "{}", '{"until_us": "x"}', '{"worker_id": "v", "status": "?"}']):
        await store.command("HSET", WORKERS_KEY, f"spoilt-{number}", text)
    assert await board.status() == WorkerStatus.idle()
    assert [seen.report.worker_id for seen in await board.workers()] == ["w"]
    await board.publish(WorkerReport("w", WorkerStatus.idle()), ttl_s=60)
    assert await store.command("HLEN", WORKERS_KEY) == 1


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"id": "a", "state": "running"}'])
async def test_job_whose_entry_was_made_unreadable_is_recorded_and_made_anew_from_the_list(
    store: TcpScriptStore, queue: RedisJobQueue, text: str
) -> None:
    await queue.enqueue("a", FLASK)
    await queue.enqueue("b", repo(1))
    await store.command("HSET", "alexandria:jobs", "a", text)
    assert ids(await queue.pending()) == ["adopted-0", "b"]
    assert (await queue.get("adopted-0")).job.repo == FLASK
    [record] = await queue.history()
    assert (record.job_id, record.status) == ("a", JobState.FAILED)
    assert "alexandria:jobs" in record.reason


SPOILT: list[dict[str, object]] = [
    {"repo": "evil"},
    {"ref": "--upload-pack=x"},
    {"state": "bogus"},
    {"state": "complete"},
    {"submitted_us": "abc"},
    {"submitted_us": "9" * 30},
    {"submitted_us": 1777636800000000},
    {"ttl_s": 0},
    {"ttl_s": 1.5},
    {"attempt": -1},
    {"due_us": "soon"},
    {"id": "another"},
    {"state": "running"},
    {"state": "running", "lease_us": "soon"},
    {"state": "running", "worker_id": None},
    {"state": "running", "token": "1"},
    {"state": "running", "phase": "dreaming"},
    {"state": "running", "fraction": "2"},
]
CLAIMED = {"started_us": "1777636800000000", "lease_us": "1777636800000000", "token": 1, "worker_id": "v"}


@pytest.mark.parametrize("change", SPOILT, ids=str)
async def test_entry_with_a_value_that_cannot_be_is_recorded_and_stops_no_call(
    store: TcpScriptStore, queue: RedisJobQueue, change: dict[str, object]
) -> None:
    sound = {
        **{"id": "x", "item": "x", "repo": "github.com/a/b", "ref": "", "state": "queued", "ttl_s": 10**9},
        **{"submitted_us": "1777636800000000", "attempt": 0},
    }
    claimed = CLAIMED if len(change) > 1 else {}
    await store.command("HSET", "alexandria:jobs", "x", json.dumps(sound | claimed | change))
    await queue.enqueue("a", FLASK)
    assert ids(await queue.pending()) == ["a"]
    claim = await queue.claim("w")
    assert claim is not None
    assert claim.job.id == "a"
    assert ids([running.job for running in await queue.running()]) == ["a"]
    assert [(record.job_id, record.status) for record in await queue.history()] == [("x", JobState.FAILED)]


async def test_entry_that_only_the_programs_can_tell_from_a_job_ends_no_program(
    store: TcpScriptStore, queue: RedisJobQueue
) -> None:
    entry = {"id": "x", "item": "x", "repo": "localhost/a", "ref": "", "state": "queued", "ttl_s": 10**9}
    await store.command(
        "HSET", "alexandria:jobs", "x", json.dumps({**entry, "submitted_us": "1777636800000000", "attempt": 0})
    )
    with pytest.raises(JobQueueError, match="no job"):
        await queue.claim("w")
    await queue.enqueue("a", FLASK)
    claim = await queue.claim("w")
    assert claim is not None
    assert claim.job.id == "a"


async def test_element_that_was_copied_is_one_job_and_one_claim(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    await queue.enqueue("a", FLASK)
    element = str(await store.command("LINDEX", QUEUE_KEY, 0))
    await store.command("RPUSH", QUEUE_KEY, element, element)
    assert ids(await queue.pending()) == ["a"]
    assert await queue.claim("w") is not None
    await store.command("LPUSH", QUEUE_KEY, element)
    assert await queue.claim("v") is None
    assert await store.command("LLEN", QUEUE_KEY) == 0


async def sizes(store: ScriptStore) -> dict[str, tuple[int, int]]:
    """Return the number of elements and the bytes of each key."""
    found = {}
    for key in cast(list[str], await store.command("KEYS", "*")):
        kind = await store.command("TYPE", key)
        count = {"list": "LLEN", "hash": "HLEN"}.get(str(kind), "STRLEN")
        words = [(count, key), ("MEMORY", "USAGE", key, "SAMPLES", 0)]
        found[key] = cast(tuple[int, int], tuple([await store.command(*command) for command in words]))
    return found


@pytest.mark.parametrize("jobs", [600, pytest.param(2000, marks=pytest.mark.long)])
async def test_no_key_grows_without_bound(jobs: int) -> None:
    async with open_redis(QueueRules()) as opened, TcpScriptStore(valkey_url()) as store:
        for number in range(jobs // 2):
            await short_job(opened, number)
        before = await sizes(store)
        for number in range(jobs // 2, jobs):
            await short_job(opened, number)
        after = await sizes(store)
        # What waits and what runs has no key when nothing does.
        assert after.keys() == before.keys() == {HISTORY_KEY, ENDED_KEY, TOKEN_KEY, STATUS_KEY, WORKERS_KEY}
        elements = {key: count for key, (count, _) in after.items()}
        assert (elements[HISTORY_KEY], elements[ENDED_KEY], elements[WORKERS_KEY]) == (100, 100, WORKERS)
        for key, (_, size_bytes) in after.items():
            assert size_bytes <= 1.15 * before[key][1] + 64  # a number takes more when it has a digit more
        assert sum(size_bytes for _, size_bytes in after.values()) < 300_000
        opened.clock.advance(SHORT_JOB_TTL_S)
        await opened.board.publish(WorkerReport("last", WorkerStatus.idle()), ttl_s=60)
        assert await store.command("HLEN", WORKERS_KEY) == 1  # those that are not heard of any more are gone


async def test_entry_that_became_unreadable_does_not_keep_its_job_for_ever(
    store: TcpScriptStore, queue: RedisJobQueue
) -> None:
    for number in range(3 * RULES.history_length):
        await queue.enqueue(f"job-{number}", repo(number))
        claim = await queue.claim("w")
        assert claim is not None
        await queue.complete(claim, record_of(claim, JobState.COMPLETE))
        await store.command("LSET", "job_history", 0, "{")
    assert await store.command("HLEN", "alexandria:ended") == RULES.history_length
    assert await queue.history() == []


async def test_each_call_costs_this_many_commands(store: TcpScriptStore, queue: RedisJobQueue) -> None:
    board = RedisStatusBoard(store)
    report = WorkerReport("w", WorkerStatus.idle())
    for number in range(RULES.history_length):  # a full history, which forgets a record for each new one
        await queue.enqueue(f"old-{number}", repo(number))
        await queue.cancel(f"old-{number}")
    # The server's TIME is one of them; on Upstash it is asked for every ten minutes instead.
    costs = {"idle poll": await cost(store, lambda: queue.claim("w"))}
    costs["enqueue"] = await cost(store, lambda: queue.enqueue("a", FLASK))
    costs["claim"] = await cost(store, lambda: queue.claim("w"))
    await queue.enqueue("b", repo(1))
    claim = await queue.claim("w")
    assert claim is not None
    costs["renew"] = await cost(store, lambda: queue.renew(claim, phase=Phase.PARSING, fraction=0.5))
    costs["complete"] = await cost(store, lambda: queue.complete(claim, record_of(claim, JobState.COMPLETE)))
    costs["history"] = await cost(store, queue.history)
    costs["presence"] = await cost(store, lambda: board.publish(report, ttl_s=60))
    costs["status"] = await cost(store, board.status)
    assert costs == {
        "idle poll": 1,
        "enqueue": 7,
        "claim": 8,
        "renew": 4,
        "complete": 9,
        "history": 1,
        "presence": 5,
        "status": 2,
    }
