"""The properties of the requirements that HTTP has a part in, over the running API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.status_board import WorkerReport
from integration.api.problems import problem
from integration.api.running import ADMIN, Cloud, RunningApi, spoken
from integration.api.urls import HOSTS, hostile_urls, valid_urls
from support.engines import ADMIN_TOKEN

INGEST = "/api/v1/ingestion/ingest"
JOBS = "/api/v1/ingestion/jobs"
STATUS = "/api/v1/ingestion/worker/status"

LONGEST_OF_HTTPX = 60_000

REFUSED = {400, 413, 414, 431}
"""The address, or what carries it, is not as it may be."""

quickly = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
NOT_HOSTS = ["example.org", "github.co", "githubb.com", "localhost", "10.0.0.1"]


@pytest.fixture(scope="module")
def asking(shared_api: RunningApi) -> Iterator[httpx.Client]:
    with shared_api.client(**ADMIN) as client:
        yield client


def submit_both_ways(client: httpx.Client, url: str) -> list[httpx.Response]:
    """Submit `url` in the address, every byte of it encoded, and as JSON."""
    # Dots too: clients take `..` out of an address.
    path = f"{INGEST}/{quote(url.encode('utf-8', 'surrogatepass'), safe='').replace('.', '%2E')}"
    as_json = json.dumps({"repo_url": url})
    return [
        client.post(path) if len(path) < LONGEST_OF_HTTPX else spoken(str(client.base_url), _request(path)),
        client.post(JOBS, content=as_json, headers={"Content-Type": "application/json"}),
    ]


def _request(path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {ADMIN['Authorization']}\r\n\r\n"
    return head.encode()


def check_refused(client: httpx.Client, urls: Iterator[str]) -> None:
    for url in urls:
        for answer in submit_both_ways(client, url):
            assert answer.status_code in REFUSED, (url[:300], answer.text)
            problem(answer, answer.status_code)
    assert client.get(JOBS).json()["pending"] == []


def check_accepted(cloud: Cloud, client: httpx.Client, urls: Iterator[tuple[str, str]]) -> None:
    for url, canonical in urls:
        for answer in submit_both_ways(client, url):
            assert answer.status_code == 202, (url, answer.text)
            assert answer.json()["target"] == canonical
        cloud.empty_queue()


@quickly
@given(owner=NAMES, name=NAMES, host=st.sampled_from(HOSTS), ref=st.sampled_from(["", "main", "v1.0"]))
def test_property_01_a_valid_url_is_in_the_queue_and_the_answer_has_id_and_position(
    *, shared_cloud: Cloud, asking: httpx.Client, owner: str, name: str, host: str, ref: str
) -> None:
    shared_cloud.empty_queue()
    asking.post(f"{INGEST}/github.com/someone/was-first")
    answer = asking.post(f"{INGEST}/{host}/{owner}/{name}", params={"ref": ref} if ref else {})
    assert answer.status_code == 202
    shape = answer.json()
    assert (shape["queue_position"], shape["queue_size"]) == (2, 2)
    second = shared_cloud.loop.run(shared_cloud.plane.queue.pending())[1]
    assert (second.id, second.repo.url, second.ref) == (shape["job_id"], f"https://{host}/{owner}/{name}", ref)


@quickly
@given(text=st.text(max_size=200) | st.text(st.characters(max_codepoint=0x7F), max_size=60))
@example("github.com/u/r\n")
@example("https://github.com/u/r\x00")
def test_property_03_text_that_is_no_repository_is_refused_before_anything_is_queued(
    shared_cloud: Cloud, asking: httpx.Client, text: str
) -> None:
    shared_cloud.empty_queue()
    check_refused(asking, iter([text]))


@quickly
@given(
    host=st.sampled_from(HOSTS),
    bad=st.sampled_from([*NOT_HOSTS, "", "a b", "u:p@github.com", "127.1", "0x7f.1", "[::1]", "github.com:22"]),
    path=st.sampled_from(["u/r", "u", "", "../r", "u/..", "u/r/x/y", "-u/r"]),
)
def test_property_03_hosts_and_paths_that_may_not_be_are_refused(
    shared_cloud: Cloud, asking: httpx.Client, host: str, bad: str, path: str
) -> None:
    shared_cloud.empty_queue()
    check_refused(asking, iter([f"https://{bad}/{path}", f"{bad}/{path}", f"http://{host}/{path}"]))


def test_500_hostile_addresses_are_refused(shared_cloud: Cloud, asking: httpx.Client) -> None:
    shared_cloud.empty_queue()
    check_refused(asking, hostile_urls(500, seed=7))


@pytest.mark.long
def test_10_000_hostile_addresses_are_refused(shared_cloud: Cloud, asking: httpx.Client) -> None:
    shared_cloud.empty_queue()
    check_refused(asking, hostile_urls(10_000, seed=8))


def test_200_valid_addresses_are_taken(shared_cloud: Cloud, asking: httpx.Client) -> None:
    shared_cloud.empty_queue()
    check_accepted(shared_cloud, asking, valid_urls(200, seed=9))


@pytest.mark.long
def test_5_000_valid_addresses_are_taken(shared_cloud: Cloud, asking: httpx.Client) -> None:
    shared_cloud.empty_queue()
    check_accepted(shared_cloud, asking, valid_urls(5_000, seed=10))


@quickly
@given(message=st.text(max_size=300), kind=st.sampled_from(["idle", "training", "error"]))
def test_property_04_status_is_exactly_what_is_stored(
    shared_cloud: Cloud, asking: httpx.Client, message: str, kind: str
) -> None:
    status = WorkerStatus.idle() if kind == "idle" else getattr(WorkerStatus, kind)(message)
    shared_cloud.loop.run(shared_cloud.plane.board.publish(WorkerReport("edge-1", status), ttl_s=60))
    shape = asking.get(STATUS).json()
    assert shape["status"] == status.text
    assert shape["workers"][0]["status"] == status.text


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"])
PATHS = st.sampled_from(
    f"{INGEST} {INGEST}/nowhere {INGEST}/ftp%3A%2F%2Fx {JOBS} {JOBS}/nobody {JOBS}/nobody/events "
    f"{JOBS}/history?limit=0 /api/v1/search/similar /api/v1/search/similar?path=none /api/v1/graph?repo=none "
    f"/api/v1/repositories/none /api/v1/files?cursor=x /api/v1/graph/neighbors?path=none / /health/none".split(" ")
)


@quickly
@given(method=METHODS, path=PATHS, body=st.binary(max_size=50), authorised=st.booleans())
def test_property_15_an_error_never_answers_200(
    *, asking: httpx.Client, method: str, path: str, body: bytes, authorised: bool
) -> None:
    # Nothing here can go well but a look at the queue.
    headers = {"Content-Type": "application/json", "X-Forwarded-For": "192.0.2.15"}
    if not authorised:
        headers["Authorization"] = "Bearer wrong"
    answer = asking.request(method, path, content=body, headers=headers)
    if path == JOBS and method in {"GET", "HEAD"}:
        assert answer.status_code == 200
    elif method == "HEAD":
        assert 400 <= answer.status_code < 500
    else:
        assert 400 <= answer.status_code < 500
        problem(answer, answer.status_code)


@quickly
@given(names=st.lists(st.integers(0, 14), max_size=18))
def test_property_16_the_cap_is_enforced(shared_cloud: Cloud, asking: httpx.Client, names: list[int]) -> None:
    shared_cloud.empty_queue()
    pending: list[int] = []
    for name in names:
        answer = asking.post(f"{INGEST}/github.com/u/r{name}")
        if name in pending or len(pending) < 10:
            if name not in pending:
                pending.append(name)
            assert answer.status_code == 202
            assert (answer.json()["queue_position"], answer.json()["queue_size"]) == (
                pending.index(name) + 1,
                len(pending),
            )
        else:
            problem(answer, 429)
            assert int(answer.headers["retry-after"]) > 0


TOKENS = (
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60)
    | st.integers(0, len(ADMIN_TOKEN) - 1).map(lambda cut: ADMIN_TOKEN[:cut])
    | st.sampled_from([ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), "x" + ADMIN_TOKEN, ADMIN_TOKEN * 2])
).filter(lambda token: token != ADMIN_TOKEN)


@quickly
@given(
    token=TOKENS,
    scheme=st.sampled_from(["Bearer", "bearer", "Basic", "Token", ""]),
    client_address=st.ip_addresses(v=4).map(str),
    way=st.sampled_from(["path", "json", "delete"]),
)
def test_property_17_without_a_valid_token_401(
    *, asking: httpx.Client, token: str, scheme: str, client_address: str, way: str
) -> None:
    # Each from another address: one that fails often is made to wait.
    headers = {"Authorization": f"{scheme} {token}".strip(), "X-Forwarded-For": client_address}
    if way == "path":
        answer = asking.post(f"{INGEST}/github.com/u/r", headers=headers)
    elif way == "json":
        answer = asking.post(JOBS, json={"repo_url": "github.com/u/r"}, headers=headers)
    else:
        answer = asking.delete(f"{JOBS}/nobody", headers=headers)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
