"""Submitting, watching and cancelling jobs over HTTP, in MODE=CLOUD over Upstash's protocol."""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime, timedelta

import httpx
import pytest

from alexandria.domain.job import JobRecord, JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import Claim
from alexandria.ports.status_board import WorkerReport
from integration.api.problems import problem
from integration.api.running import ADMIN, Cloud, RunningApi, free_port, running_api
from support.upstash_rest import Fault

INGEST = "/api/v1/ingestion/ingest"
JOBS = "/api/v1/ingestion/jobs"
STATUS = "/api/v1/ingestion/worker/status"
FLASK = "https://github.com/pallets/flask"


def record_of(claim: Claim, status: JobState) -> JobRecord:
    now = datetime.fromisoformat("2026-11-21T09:30:00+00:00")
    return JobRecord(
        claim.job.id,
        claim.job.repo.url,
        status,
        now,
        now,
        1.5,
        files_processed=7,
        embeddings_generated=7,
        final_loss=0.5,
    )


def claimed(cloud: Cloud) -> Claim:
    claim = cloud.loop.run(cloud.plane.queue.claim("edge-1"))
    assert claim is not None
    return claim


@pytest.mark.parametrize(
    "written",
    [
        "github.com/pallets/flask",
        "https://github.com/pallets/flask",
        "https:/github.com/pallets/flask",
        "https%3A%2F%2Fgithub.com%2Fpallets%2Fflask",
        "HTTPS:/GitHub.com/pallets/flask.git",
        "git@github.com:pallets/flask.git",
        "github.com/pallets/flask/",
    ],
)
def test_every_spelling_of_an_address_dispatches_the_same_repository(client: httpx.Client, written: str) -> None:
    answer = client.post(f"{INGEST}/{written}")
    assert answer.status_code == 202, answer.text
    shape = answer.json()
    job_id = shape.pop("job_id")
    assert shape == {
        "status": "dispatched",
        "queue_position": 1,
        "queue_size": 1,
        "max_queue_size": 10,
        "target": FLASK,
        "ref": "",
        "state": "queued",
        "created": True,
    }
    assert answer.headers["location"] == f"{JOBS}/{job_id}"
    assert client.get(answer.headers["location"]).json()["id"] == job_id


def test_a_repeat_of_a_pending_job_answers_the_same_job(client: httpx.Client) -> None:
    first = client.post(f"{INGEST}/github.com/pallets/flask").json()
    other = client.post(f"{INGEST}/github.com/pallets/click").json()
    again = client.post(JOBS, json={"repo_url": FLASK + ".git"}).json()
    assert again["job_id"] == first["job_id"] != other["job_id"]
    assert (again["created"], again["queue_position"], again["queue_size"]) == (False, 1, 2)
    assert other["queue_position"] == 2


def test_json_takes_a_ref_and_another_ref_is_another_job(client: httpx.Client) -> None:
    main = client.post(JOBS, json={"repo_url": FLASK, "ref": "main"}).json()
    assert main["ref"] == "main"
    assert client.post(JOBS, json={"repo_url": FLASK, "ref": "2.3.x"}).json()["job_id"] != main["job_id"]
    assert client.post(f"{INGEST}/github.com/pallets/flask?ref=main").json()["job_id"] == main["job_id"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://github.com/u/r", "only https"),
        ("http://github.com/u/r", "only https"),
        ("https://user:pw@github.com/u/r", "credentials"),
        ("https://127.0.0.1/u/r", "IP literal"),
        ("https://localhost/u/r", "internal"),
        ("https://example.org/u/r", "not among those that are allowed"),
        ("github.com/u", "host/owner/name"),
        ("github.com/../r", "parts of dots"),
        (" ", "a folder"),
        ("/etc", "a folder cannot be queued"),
    ],
)
def test_a_refused_address_gets_400_with_the_reason(client: httpx.Client, url: str, reason: str) -> None:
    document = problem(client.post(JOBS, json={"repo_url": url}), 400)
    assert reason in document["detail"]
    assert document["type"] == "urn:alexandria:problem:invalid-repository-url"
    assert client.get(JOBS).json()["pending"] == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"repo_url": 1}', b'{"repo_url": "x", "y": 1}', b"\xff"]
)
def test_a_body_that_is_no_submission_gets_400(client: httpx.Client, body: bytes) -> None:
    problem(client.post(JOBS, content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_said_to_be_no_json_gets_415(client: httpx.Client, headers: dict[str, str]) -> None:
    document = problem(client.post(JOBS, content=json.dumps({"repo_url": FLASK}), headers=headers), 415)
    assert document["detail"].startswith("the body must be")
    assert client.get(JOBS).json()["pending"] == []


def test_json_may_be_named_with_a_parameter(client: httpx.Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8", "Content-Encoding": "identity"}
    assert client.post(JOBS, content=json.dumps({"repo_url": FLASK}), headers=headers).status_code == 202


def test_a_body_nested_without_end_gets_400_with_the_reason(client: httpx.Client) -> None:
    refused = client.post(JOBS, content=b"[" * 16_000, headers={"Content-Type": "application/json"})
    assert "recursion" in problem(refused, 400)["detail"]


def test_a_ref_that_git_would_not_take_gets_400(client: httpx.Client) -> None:
    problem(client.post(JOBS, json={"repo_url": FLASK, "ref": "--upload-pack=x"}), 400)
    problem(client.post(f"{INGEST}/github.com/u/r?--upload-pack=x"), 400)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Basic 0123456789abcdef-admin")],
        [("Authorization", "0123456789abcdef-admin")],
        [("Authorization", "Bearer 0123456789abcdef-admi")],
        [("Authorization", "Bearer 0123456789abcdef-admin2")],
        [("Authorization", "Bearer 0123456789abcdef-admin x")],
        [("Authorization", "Bearer 0123456789ABCDEF-ADMIN")],
        [("Authorization", ADMIN["Authorization"]), ("Authorization", ADMIN["Authorization"])],
        [("Authorization", "Bearer \xfc\xfc\xfc\xfc".encode("latin-1"))],
    ],
)
def test_without_the_token_nothing_is_queued(
    api: RunningApi, client: httpx.Client, headers: list[tuple[str, str]]
) -> None:
    for method, path in (("POST", f"{INGEST}/github.com/u/r"), ("POST", JOBS), ("DELETE", f"{JOBS}/x")):
        with httpx.Client(base_url=api.url) as stranger:
            answer = stranger.request(method, path, headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="alexandria"')
    assert client.get(JOBS).json()["pending"] == []


def test_a_stranger_learns_nothing_of_a_body_that_is_wrong(anybody: httpx.Client) -> None:
    for body, kind in ((b"{", "application/json"), (b"{}", "application/json"), (b"x", "text/plain")):
        problem(anybody.post(JOBS, content=body, headers={"Content-Type": kind}), 401)


def test_the_scheme_is_read_in_any_case(client: httpx.Client) -> None:
    lower = {"Authorization": ADMIN["Authorization"].replace("Bearer", "bearer")}
    assert client.post(f"{INGEST}/github.com/u/r", headers=lower).status_code == 202


def test_a_refusal_is_logged_with_the_peer_and_without_the_token(api: RunningApi, anybody: httpx.Client) -> None:
    secret = "guess-4f1d9c7a-never-in-a-log"
    proxied = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "198.51.100.77"}
    problem(anybody.post(f"{INGEST}/github.com/u/r", headers=proxied), 401)
    logged = [json.loads(line) for line in api.text_of_log.splitlines() if "198.51.100.77" in line]
    assert any(line["level"] == "warning" and line["reason"] == "wrong token" for line in logged)
    assert secret not in api.text_of_log


def test_ten_pending_jobs_refuse_the_eleventh(client: httpx.Client) -> None:
    for number in range(10):
        answer = client.post(f"{INGEST}/github.com/u/r{number}")
        assert (answer.status_code, answer.json()["queue_position"]) == (202, number + 1)
    refused = client.post(f"{INGEST}/github.com/u/r10")
    document = problem(refused, 429)
    assert int(refused.headers["retry-after"]) > 0
    assert (document["queue_size"], document["max_queue_size"]) == (10, 10)
    assert client.post(f"{INGEST}/github.com/u/r3").json()["created"] is False


def test_a_queue_that_does_not_answer_is_503_and_comes_back(cloud: Cloud, client: httpx.Client) -> None:
    assert client.post(f"{INGEST}/github.com/u/r").status_code == 202  # the server's time is measured by now
    cloud.engines.queue.faults.extend([Fault.DROP_BEFORE] * 10)
    refused = client.post(f"{INGEST}/github.com/u/r")
    document = problem(refused, 503)
    assert (int(refused.headers["retry-after"]) > 0, document["store"]) == (True, "queue")
    assert cloud.engines.queue.url not in refused.text
    cloud.engines.queue.faults.clear()
    assert client.post(f"{INGEST}/github.com/u/r").status_code == 202


def test_an_api_whose_queue_is_not_there_starts_and_answers_503(cloud: Cloud) -> None:
    nobody = cloud.variables(UPSTASH_REDIS_REST_URL=f"http://127.0.0.1:{free_port()}")
    with running_api(cloud.data, nobody) as api, api.client(**ADMIN) as client:
        for answer in (client.post(f"{INGEST}/github.com/u/r"), client.get(STATUS), client.get(JOBS)):
            problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/api/v1/repositories").status_code == 200  # what does not need it goes on


def test_a_job_is_seen_from_the_queue_to_its_record(cloud: Cloud, client: httpx.Client) -> None:
    job_id = client.post(f"{INGEST}/github.com/pallets/flask").json()["job_id"]
    waiting = client.get(f"{JOBS}/{job_id}").json()
    assert (waiting["state"], waiting["position"], waiting["percentage"], waiting["record"]) == ("queued", 1, 0.0, None)
    assert datetime.fromisoformat(waiting["submitted_at"]).utcoffset() == timedelta(0)
    claim = claimed(cloud)
    cloud.loop.run(cloud.plane.queue.renew(claim, phase=Phase.TRAINING, fraction=0.425))
    running = client.get(f"{JOBS}/{job_id}").json()
    assert (running["state"], running["phase"], running["percentage"]) == ("running", "training", 42.5)
    assert (running["attempt"], running["worker_id"]) == (1, "edge-1")
    assert [one["id"] for one in client.get(JOBS).json()["running"]] == [job_id]
    cloud.loop.run(cloud.plane.queue.complete(claim, record_of(claim, JobState.COMPLETE)))
    ended = client.get(f"{JOBS}/{job_id}").json()
    assert (ended["state"], ended["record"]["files_processed"], ended["record"]["final_loss"]) == ("complete", 7, 0.5)
    assert client.get(f"{JOBS}/history").json()["history"] == [ended["record"]]


def test_cancel_ends_a_waiting_job_and_asks_a_running_one_to_stop(cloud: Cloud, client: httpx.Client) -> None:
    waiting = client.post(f"{INGEST}/github.com/u/waits").json()["job_id"]
    assert client.delete(f"{JOBS}/{waiting}").json()["state"] == "cancelled"
    running = client.post(f"{INGEST}/github.com/u/runs").json()["job_id"]
    claimed(cloud)
    shape = client.delete(f"{JOBS}/{running}").json()
    assert (shape["state"], shape["cancel_requested"]) == ("running", True)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("job_id", ["nobody", "%20", "a" * 100, "%F0%9F%98%80"])
def test_a_job_that_is_not_known_is_404(client: httpx.Client, method: str, job_id: str) -> None:
    document = problem(client.request(method, f"{JOBS}/{job_id}"), 404)
    assert document["type"] == "urn:alexandria:problem:no-such-job"


def test_history_is_newest_first_and_as_long_as_asked_for(cloud: Cloud, client: httpx.Client) -> None:
    ids = [client.post(f"{INGEST}/github.com/u/r{number}").json()["job_id"] for number in range(3)]
    for job_id in ids:
        client.delete(f"{JOBS}/{job_id}")
    records = client.get(f"{JOBS}/history", params={"limit": 2}).json()["history"]
    assert [one["job_id"] for one in records] == ids[:0:-1]
    for limit in ("0", "101", "-1", "x", "1.5", ""):
        assert "limit" in problem(client.get(f"{JOBS}/history?limit={limit}"), 400)["detail"]


def test_worker_status_is_the_exact_string_and_each_worker(cloud: Cloud, anybody: httpx.Client) -> None:
    assert anybody.get(STATUS).json() == {"status": "Offline", "workers": []}
    training = WorkerReport("edge-1", WorkerStatus.training(FLASK), "a-job", Phase.PARSING, 0.333)
    cloud.loop.run(cloud.plane.board.publish(training, ttl_s=60))
    cloud.loop.run(cloud.plane.board.publish(WorkerReport("edge-2", WorkerStatus.idle()), ttl_s=60))
    shape = anybody.get(STATUS).json()
    assert shape["status"] == f"Training Graph on {FLASK}"
    first, second = shape["workers"]
    assert (first["worker_id"], first["phase"], first["percentage"]) == ("edge-1", "parsing", 33.3)
    assert (second["worker_id"], second["status"], second["phase"]) == ("edge-2", "Idle", None)


def test_status_is_asked_for_once_however_many_look(cloud: Cloud) -> None:
    remembering = cloud.variables(STATUS_CACHE_SECONDS="600")
    with running_api(cloud.data, remembering) as api, api.client() as client:
        client.get(STATUS)
        before = len(cloud.engines.queue.requests)
        asking = [threading.Thread(target=lambda: client.get(STATUS)) for _ in range(20)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert len(cloud.engines.queue.requests) == before


def events_of(response: httpx.Response) -> list[tuple[str, dict[str, object]]]:
    text = "".join(response.iter_text())
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(name, json.loads(data)) for name, data in found]


def test_the_stream_of_a_job_tells_each_change_and_ends_with_it(cloud: Cloud, client: httpx.Client) -> None:
    job_id = client.post(f"{INGEST}/github.com/u/r").json()["job_id"]
    with client.stream("GET", f"{JOBS}/{job_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        claim = claimed(cloud)
        cloud.loop.run(cloud.plane.queue.complete(claim, record_of(claim, JobState.COMPLETE)))
        told = events_of(response)
    assert [name for name, _ in told] == ["job"] * len(told)
    states = [shape["state"] for _, shape in told]
    assert (states[0], states[-1]) == ("queued", "complete")
    assert told[-1][1]["id"] == job_id
    with client.stream("GET", f"{JOBS}/{job_id}/events") as response:
        assert [shape["state"] for _, shape in events_of(response)] == ["complete"]


def test_the_stream_of_a_job_that_is_not_known_is_404(client: httpx.Client) -> None:
    problem(client.get(f"{JOBS}/nobody/events"), 404)
    answer = client.head(f"{JOBS}/nobody/events")
    assert answer.status_code == 405


def test_listeners_to_the_workers_share_the_calls_of_the_store(cloud: Cloud, api: RunningApi) -> None:
    with (
        api.client() as first,
        api.client() as second,
        first.stream("GET", "/api/v1/ingestion/worker/events") as one,
        second.stream("GET", "/api/v1/ingestion/worker/events") as other,
    ):
        lines = one.iter_lines(), other.iter_lines()
        assert [json.loads(_data(line))["status"] for line in lines] == ["Offline", "Offline"]
        cloud.loop.run(cloud.plane.board.publish(WorkerReport("edge-1", WorkerStatus.idle()), ttl_s=60))
        assert [json.loads(_data(line))["status"] for line in lines] == ["Idle", "Idle"]


def _data(lines: object) -> str:
    for line in lines:  # type: ignore[attr-defined]
        if line.startswith("data: "):
            return str(line.removeprefix("data: "))
    raise AssertionError("the stream ended")
