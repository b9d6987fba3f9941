"""Health, metrics, logs, and how the process ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Any

import httpx
import pytest

from alexandria.domain.job import JobRecord, JobState, Phase
from alexandria.entrypoints.api.server import _let_nobody_connect
from integration.api.problems import problem
from integration.api.running import ADMIN, Cloud, RunningApi, running_api
from support.qdrant_rest import Fault as VectorFault
from support.upstash_rest import Fault

INGEST = "/api/v1/ingestion/ingest"


def metrics_of(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_live_touches_no_store(cloud: Cloud, anybody: httpx.Client) -> None:
    before = len(cloud.engines.queue.requests)
    assert anybody.get("/health/live").json() == {"status": "alive"}
    assert len(cloud.engines.queue.requests) == before


def test_health_names_every_store_with_its_latency(anybody: httpx.Client) -> None:
    shape = anybody.get("/health").json()
    assert shape["status"] == "healthy"
    assert set(shape["services"]) == {"queue", "vector_store", "database"}
    for service in shape["services"].values():
        assert service["status"] == "up"
        assert service["latency_ms"] > 0


def test_health_is_503_with_the_store_that_is_down(cloud: Cloud, anybody: httpx.Client) -> None:
    time.sleep(0.02)  # what was found is remembered for 0.01 s
    cloud.engines.queue.faults.extend([Fault.DROP_BEFORE] * 5)
    answer = anybody.get("/health")
    document = problem(answer, 503)
    assert document["services"]["queue"]["status"] == "down"
    assert document["services"]["database"]["status"] == "up"
    assert "the queue does not answer" in document["detail"]
    assert int(answer.headers["retry-after"]) > 0
    cloud.engines.queue.faults.clear()
    time.sleep(0.02)
    assert anybody.get("/health").status_code == 200


def test_health_tells_a_store_that_refuses_from_one_that_is_away(cloud: Cloud, anybody: httpx.Client) -> None:
    time.sleep(0.02)
    cloud.engines.vectors.faults.append(VectorFault.UNAUTHORIZED)
    try:
        document = problem(anybody.get("/health"), 503)
    finally:
        cloud.engines.vectors.faults.clear()
    assert document["services"]["vector_store"]["status"] == "refused"


def test_health_asks_once_however_many_ask(cloud: Cloud) -> None:
    remembering = cloud.variables() | {"HEALTH_CACHE_SECONDS": "600"}
    with running_api(cloud.data, remembering) as api, api.client() as client:
        while not cloud.engines.queue.requests or cloud.engines.queue.requests[-1] != ["PING"]:
            time.sleep(0.01)  # the check at start
        time.sleep(0.1)
        before = len(cloud.engines.queue.requests)
        asking = [threading.Thread(target=lambda: client.get("/health")) for _ in range(20)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert client.get("/health").status_code == 200
        assert len(cloud.engines.queue.requests) - before == 1


def test_metrics_count_requests_by_template_and_show_the_queue(cloud: Cloud, client: httpx.Client) -> None:
    job = client.post(f"{INGEST}/github.com/u/one").json()["job_id"]
    client.post(f"{INGEST}/github.com/u/two")
    client.post(f"{INGEST}/ftp:x")
    claim = cloud.loop.run(cloud.plane.queue.claim("edge-1"))
    assert claim is not None
    assert claim.job.id == job
    cloud.loop.run(cloud.plane.queue.renew(claim, phase=Phase.PARSING, fraction=0.5))
    time.sleep(0.02)
    before = metrics_of(client.get("/metrics").text)
    template = 'method="POST",route="/api/v1/ingestion/ingest/{repo_url:path}"'
    assert before[f'alexandria_http_requests_total{{{template},status="202"}}'] >= 2
    assert before[f'alexandria_http_requests_total{{{template},status="400"}}'] >= 1
    assert before["alexandria_queue_depth"] == 1
    assert before['alexandria_jobs{state="running"}'] == 1
    assert before['alexandria_jobs_running{phase="parsing"}'] == 1
    assert before["alexandria_queue_up"] == 1
    started = claim.job.submitted_at
    record = JobRecord(job, claim.job.repo.url, JobState.COMPLETE, started, started, 7.0)
    cloud.loop.run(cloud.plane.queue.complete(claim, record))
    time.sleep(0.02)
    after = metrics_of(client.get("/metrics").text)
    name = 'alexandria_job_duration_seconds_sum{status="complete"}'
    assert after[name] - before.get(name, 0) == 7.0
    assert after['alexandria_jobs{state="complete"}'] == 1


def test_metrics_count_what_a_store_fails(cloud: Cloud, client: httpx.Client) -> None:
    name = 'alexandria_store_errors_total{store="queue"}'
    before = metrics_of(client.get("/metrics").text)[name]
    cloud.engines.queue.faults.extend([Fault.BAD_GATEWAY] * 3)
    problem(client.post(f"{INGEST}/github.com/u/r"), 503)
    cloud.engines.queue.faults.clear()
    assert metrics_of(client.get("/metrics").text)[name] == before + 1


def test_scraping_does_not_ask_the_store_each_time(cloud: Cloud) -> None:
    remembering = cloud.variables() | {"HEALTH_CACHE_SECONDS": "600"}
    with running_api(cloud.data, remembering) as api, api.client() as client:
        client.get("/metrics")
        before = len(cloud.engines.queue.requests)
        for _ in range(10):
            client.get("/metrics")
        assert len(cloud.engines.queue.requests) == before


@pytest.mark.parametrize("sent", ["abc-DEF_1.2", "a" * 64])
def test_a_request_id_comes_back_and_is_in_the_log(api: RunningApi, anybody: httpx.Client, sent: str) -> None:
    answer = anybody.get("/nowhere", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] == problem(answer, 404)["request_id"] == sent
    deadline = time.monotonic() + 10  # the line is written after the answer
    while not any(json.loads(line).get("request_id") == sent for line in api.text_of_log.splitlines()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", 'a"b', "{}", "a%0ab"])
def test_a_request_id_that_is_none_is_replaced(anybody: httpx.Client, sent: str) -> None:
    given = anybody.get("/health/live", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", given)


def test_every_line_of_the_log_is_one_json_object(api: RunningApi, anybody: httpx.Client) -> None:
    anybody.get("/%0a%0d%1b[2J")
    anybody.get("/health", headers={"X-Forwarded-For": "1.2.3.4\tx"})
    for line in api.text_of_log.splitlines():
        shape = json.loads(line)
        assert shape["level"]
        assert shape["event"]


def stall(cloud: Cloud, seconds: float) -> None:
    """Let every engine of this process answer late."""
    cloud.loop.call_soon(lambda: time.sleep(seconds))


def test_sigterm_lets_a_request_in_flight_finish_and_ends_streams(cloud: Cloud) -> None:
    with running_api(cloud.data, cloud.variables()) as api, api.client(**ADMIN) as client, api.client() as listener:
        assert client.post(f"{INGEST}/github.com/u/first").status_code == 202
        with listener.stream("GET", "/api/v1/ingestion/worker/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: workers"
            answers: list[Any] = []
            seen = len(cloud.engines.queue.requests)
            stall(cloud, 2.0)
            posting = threading.Thread(target=lambda: answers.append(client.post(f"{INGEST}/github.com/u/second")))
            posting.start()
            wait_for_connection(api)
            api.process.send_signal(signal.SIGTERM)
            rest = list(lines)  # ends, and does not break off
            posting.join(30)
        assert [answer.status_code for answer in answers] == [202]
        assert answers[0].json()["queue_size"] == 2
        assert api.process.wait(timeout=30) == 0
        assert "data" not in "".join(rest[2:])
        assert len(cloud.engines.queue.requests) > seen
        with pytest.raises(httpx.ConnectError):
            httpx.get(api.url)


def wait_for_connection(api: RunningApi) -> None:
    """Wait until the process has read what was sent to it: another request gets an answer after it."""
    assert httpx.get(f"{api.url}/health/live").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_who_comes_while_it_stops_listening_gets_no_connection_and_who_has_one_keeps_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as early:
            _let_nobody_connect(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.5)
            early.sendall(b"x")
            with listening.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"
                accepted.sendall(b"y")
                assert early.recv(1) == b"y"
            listening.settimeout(0)
            with pytest.raises(BlockingIOError):
                listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


# Idle connections are kept for longer than a busy machine lets a client wait for its turn.
PATIENT = """
import runpy, sys
from alexandria.entrypoints.api import server
server.LINGER_S = 20.0
sys.argv = ["alexandria", "api", *sys.argv[1:]]
runpy.run_module("alexandria.entrypoints.start", run_name="__main__")
"""


def test_sigterm_drops_no_request_of_clients_that_go_on_asking(cloud: Cloud) -> None:
    """A client may lose a connection only after it was told so, or before it has one."""
    statuses, dropped = [], []
    with running_api(cloud.data, cloud.variables(), [sys.executable, "-c", PATIENT]) as api:
        port = int(api.url.rpartition(":")[2])

        def go_on_asking(keep: bool) -> None:
            line = HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.suppress(ConnectionRefusedError):
                while True:
                    try:
                        line.request("GET", "/api/v1/ingestion/jobs", headers={} if keep else {"Connection": "close"})
                        answer = line.getresponse()
                        answer.read()
                    except (HTTPException, ConnectionResetError, BrokenPipeError) as error:
                        dropped.append(repr(error))
                        line.close()
                    else:
                        statuses.append(answer.status)

        asking = [threading.Thread(target=go_on_asking, args=(number % 2 == 0,)) for number in range(16)]
        for thread in asking:
            thread.start()
        while len(statuses) < 64:
            time.sleep(0.01)
        assert api.stop() == 0
        for thread in asking:
            thread.join(30)
    assert dropped == []
    assert set(statuses) == {200}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_process_ends_at_once_and_well(cloud: Cloud, how: signal.Signals) -> None:
    with running_api(cloud.data, cloud.variables()) as api, api.client() as idle:
        idle.get("/health/live")  # a connection that stays open does not keep it
        assert api.stop(how) == 0
