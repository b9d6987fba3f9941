"""What is refused before it costs anything, and the headers of every answer."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection

import httpx
import pytest

from integration.api.problems import problem
from integration.api.running import ADMIN, Cloud, RunningApi, running_api, spoken

JOBS = "/api/v1/ingestion/jobs"
JSON = {"Content-Type": "application/json"}


def test_a_body_that_is_too_long_is_413(client: httpx.Client) -> None:
    long = b'{"repo_url": "' + b"x" * 20_000 + b'"}'
    problem(client.post(JOBS, content=long, headers=JSON), 413)
    chunks = iter([long[:10_000], long[10_000:]])
    problem(client.post(JOBS, content=chunks, headers=JSON), 413)
    assert client.post(JOBS, content=b" " * 16_000 + b'{"repo_url": "github.com/u/r"}', headers=JSON).status_code == 202


def test_a_path_or_query_that_is_too_long_is_414(anybody: httpx.Client) -> None:
    problem(anybody.get("/" + "a" * 5_000), 414)
    problem(anybody.get("/health/live?" + "a" * 9_000), 414)


def test_a_head_that_is_too_long_is_431(api: RunningApi, anybody: httpx.Client) -> None:
    problem(anybody.get("/health/live", headers={f"X-{n}": "1" for n in range(120)}), 431)
    problem(
        spoken(api.url, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"), 431
    )
    problem(spoken(api.url, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000), 431)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(api: RunningApi, request_bytes: bytes) -> None:
    answer = spoken(api.url, request_bytes)
    assert answer.status_code in {400, 404}
    problem(answer, answer.status_code)


# The limits on time, tenths of what they are, in a process of its own.
IMPATIENT = """
import runpy, sys
from alexandria.entrypoints.api import gate, server
gate.BODY_TIMEOUT_S, server.OWED_TIMEOUT_S = 1.0, 1.0
sys.argv = ["alexandria", "api", *sys.argv[1:]]
runpy.run_module("alexandria.entrypoints.start", run_name="__main__")
"""


@pytest.fixture(scope="module")
def impatient(shared_cloud: Cloud) -> Iterator[RunningApi]:
    with running_api(shared_cloud.data, shared_cloud.variables(), [sys.executable, "-c", IMPATIENT]) as api:
        yield api


HEAD = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN['Authorization']}\r\n"


def dripped(api: RunningApi, head: str, drop: bytes) -> tuple[bytes, float]:
    """Send `head`, then `drop` every 0.1 s until the connection is closed; return the answer and the seconds."""
    began = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2]))) as line:
        line.sendall(head.encode())
        line.settimeout(0.1)
        while time.monotonic() - began < 20:
            try:
                chunk = line.recv(65536)
                if not chunk:
                    break
                answer += chunk
            except TimeoutError:
                with suppress(ConnectionError):
                    line.sendall(drop)
            except ConnectionError:
                break
    return answer, time.monotonic() - began


def test_a_head_that_drips_is_not_waited_for(impatient: RunningApi) -> None:
    answer, seconds = dripped(impatient, "GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a")
    assert answer == b""
    assert 0.9 < seconds < 10


def test_a_body_that_drips_is_408_by_its_deadline_as_a_whole(impatient: RunningApi) -> None:
    answer, seconds = dripped(impatient, HEAD + "Content-Type: application/json\r\nContent-Length: 9000\r\n\r\n", b" ")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within" in answer
    assert 0.9 < seconds < 10


def test_a_body_that_goes_on_after_its_refusal_is_not_read_for_ever(impatient: RunningApi) -> None:
    answer, seconds = dripped(impatient, HEAD + "Content-Length: 999999999999\r\n\r\n", b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert 0.9 < seconds < 10


def test_a_refused_body_that_is_short_leaves_the_connection(api: RunningApi) -> None:
    with api.client() as stranger:
        for _ in range(2):
            problem(stranger.post(JOBS, content=iter([b"x" * 9000]), headers=JSON), 401)


def test_a_connection_that_is_idle_between_two_requests_is_kept(impatient: RunningApi) -> None:
    with closing(HTTPConnection("127.0.0.1", int(impatient.url.rpartition(":")[2]))) as line:
        line.request("GET", "/health/live")
        first = line.sock
        assert line.getresponse().read()
        time.sleep(1.5)
        line.request("GET", "/health/live")
        assert line.getresponse().read()
        assert line.sock is first


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "BREW"])
def test_a_method_that_is_not_taken_is_405_with_those_that_are(anybody: httpx.Client, method: str) -> None:
    answer = anybody.request(method, f"{JOBS}/x")
    problem(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (JOBS, "GET, HEAD, POST"),
        (f"{JOBS}/x/events", "GET"),  # a stream has no HEAD
        ("/api/v1/ingestion/ingest/github.com/u/r", "POST"),
        ("/health", "GET, HEAD"),
    ],
)
def test_the_methods_of_an_address_are_those_that_it_takes(anybody: httpx.Client, path: str, allowed: str) -> None:
    assert anybody.put(path).headers["allow"] == allowed
    statuses = {method: anybody.request(method, path).status_code for method in ("HEAD", "GET", "POST", "DELETE")}
    assert {method for method, status in statuses.items() if status != 405} == set(allowed.split(", "))


def test_head_answers_as_get_without_the_body(anybody: httpx.Client) -> None:
    answer = anybody.head("/health/live")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1/nothing", "/health/", "/.env", "/docs/../etc/passwd", "/%2e%2e"]
)
def test_what_is_not_there_is_404(anybody: httpx.Client, path: str) -> None:
    problem(anybody.get(path), 404)


def test_a_control_character_in_an_address_is_400(client: httpx.Client) -> None:
    for path in ("/api/v1/ingestion/ingest/github.com/u/r%0a", "/health/live%00", "/%1b%5b2J"):
        problem(client.post(path), 400)
    assert client.get(JOBS).json()["pending"] == []


def test_every_answer_has_the_headers_that_protect(client: httpx.Client) -> None:
    for path in ("/health/live", "/nothing", "/docs", "/api/v1/repositories", "/metrics"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in {"no-store", "private, no-cache"}
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_an_address_gets_as_many_answers_a_minute_as_it_may(cloud: Cloud) -> None:
    limited = cloud.variables() | {"REQUESTS_PER_MINUTE": "20"}
    with running_api(cloud.data, limited) as api, api.client(**ADMIN) as client:
        statuses = [client.get("/nothing").status_code for _ in range(60)]
        assert 20 <= statuses.count(404) < 60  # some come back while they are counted
        refused = client.post(f"{JOBS}")
        problem(refused, 429)
        assert 0 < int(refused.headers["retry-after"]) <= 4
        assert client.get("/health/live").status_code == 200
        other = client.get("/nothing", headers={"X-Forwarded-For": "203.0.113.9"})
        assert other.status_code == 404, "behind a proxy that is trusted each client has its own limit"


def test_forwarded_for_is_not_believed_from_anybody(cloud: Cloud) -> None:
    limited = cloud.variables() | {"REQUESTS_PER_MINUTE": "20", "TRUSTED_PROXIES": "203.0.113.0/24"}
    with running_api(cloud.data, limited) as api, api.client() as client:
        forged = [client.get("/nothing", headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(40)]
        assert 429 in forged


def test_origins_that_are_set_may_call_and_others_may_not(cloud: Cloud) -> None:
    with running_api(cloud.data, cloud.variables(CORS_ORIGINS="https://app.example")) as api, api.client() as client:
        mine, other = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
        answer = client.get("/api/v1/repositories", headers=mine)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "etag" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-origin" not in client.get("/api/v1/repositories", headers=other).headers
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        allowed = client.options(JOBS, headers=mine | preflight)
        assert (allowed.status_code, "POST" in allowed.headers["access-control-allow-methods"]) == (204, True)
        assert client.options(JOBS, headers=other | preflight).status_code == 405


def test_the_documentation_can_be_off(cloud: Cloud) -> None:
    with running_api(cloud.data, cloud.variables(API_DOCS="false")) as api, api.client() as client:
        problem(client.get("/docs"), 404)
        problem(client.get("/openapi.json"), 404)
