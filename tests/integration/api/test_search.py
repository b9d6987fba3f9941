"""What is indexed, read over HTTP in MODE=CLOUD from PostgreSQL and Qdrant's interface."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta

import httpx
import pytest

from alexandria.application.index import CodeGraph
from alexandria.entrypoints import shapes
from integration.api.problems import problem
from integration.api.running import ADMIN, EDGES, LONELY, REPO, Cloud, put_in, running_api

API = "/api/v1"
CART = "shop/cart.py"
READ_TOKEN = "a-token-for-readers"
READ_ROUTES = [
    f"{API}/repositories",
    f"{API}/repositories/{REPO}",
    f"{API}/files",
    f"{API}/search/similar?path={CART}",
    f"{API}/graph/neighbors?path={CART}",
    f"{API}/graph",
    f"{API}/ingestion/jobs",
    f"{API}/ingestion/jobs/history",
    f"{API}/ingestion/worker/status",
    "/metrics",
]
CACHED_ROUTES = READ_ROUTES[:6]


def test_repositories_say_commit_age_counts_and_unresolved_share(anybody: httpx.Client) -> None:
    page = anybody.get(f"{API}/repositories").json()
    assert page["next"] is None
    [repository] = page["repositories"]
    assert (repository["repo"], repository["commit"]) == (REPO, "c0ffee")
    assert (repository["files"], repository["linked"], repository["edges"]) == (5, 4, 3)
    assert repository["imports"]["unresolved_share"] == 0.0
    assert repository["age_seconds"] > 0
    assert datetime.fromisoformat(repository["indexed_at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", [REPO, "test/shop", "shop"])
def test_a_repository_is_named_by_its_key_or_the_end_of_it(anybody: httpx.Client, name: str) -> None:
    assert anybody.get(f"{API}/repositories/{name}").json()["repository"]["repo"] == REPO
    assert anybody.get(f"{API}/files", params={"repo": name}).status_code == 200


@pytest.mark.parametrize("path", [f"{API}/repositories/nobody", f"{API}/files?repo=nobody", f"{API}/graph?repo=nobody"])
def test_a_repository_that_is_not_indexed_is_404_with_those_that_are(anybody: httpx.Client, path: str) -> None:
    document = problem(anybody.get(path), 404)
    assert document["type"] == "urn:alexandria:problem:no-such-repository"
    assert document["repositories"] == [REPO]


def test_files_come_in_pages_that_together_are_all(anybody: httpx.Client) -> None:
    paths, cursor, pages = [], "", 0
    while True:
        page = anybody.get(f"{API}/files", params={"limit": 2, "cursor": cursor}).json()
        paths += [file["path"] for file in page["files"]]
        pages += 1
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == 3
    assert paths == sorted({path for edge in EDGES for path in edge} | {LONELY})
    [cart] = anybody.get(f"{API}/files", params={"prefix": "shop/ca"}).json()["files"]
    assert cart == {"path": CART, "language": "python", "imports": 1, "importers": 2, "isolated": False}


def test_a_page_after_an_index_run_is_refused_rather_than_mixed(cloud: Cloud, anybody: httpx.Client) -> None:
    cursor = anybody.get(f"{API}/files", params={"limit": 2}).json()["next"]
    cloud.loop.run(put_in(cloud.plane, REPO))
    assert "begin again" in problem(anybody.get(f"{API}/files", params={"limit": 2, "cursor": cursor}), 409)["detail"]


@pytest.mark.parametrize("cursor", ["x", "[]", "W10", "WzFd", "\N{PILE OF POO}", "A" * 3000])
@pytest.mark.parametrize("route", ["repositories", "files"])
def test_a_cursor_that_is_none_of_ours_is_400(anybody: httpx.Client, route: str, cursor: str) -> None:
    problem(anybody.get(f"{API}/{route}", params={"cursor": cursor}), 400)


def test_repositories_come_in_pages(cloud: Cloud, anybody: httpx.Client) -> None:
    cloud.loop.run(put_in(cloud.plane, "github.com/a/first"))
    try:
        page = anybody.get(f"{API}/repositories", params={"limit": 1}).json()
        assert [one["repo"] for one in page["repositories"]] == ["github.com/a/first"]
        rest = anybody.get(f"{API}/repositories", params={"limit": 1, "cursor": page["next"]}).json()
        assert ([one["repo"] for one in rest["repositories"]], rest["next"]) == ([REPO], None)
        several = problem(anybody.get(f"{API}/files"), 404)
        assert several["repositories"] == ["github.com/a/first", REPO]
    finally:
        cloud.loop.run(cloud.plane.remove("github.com/a/first"))


def test_similar_is_what_the_stores_say(cloud: Cloud, anybody: httpx.Client) -> None:
    asked = anybody.get(f"{API}/search/similar", params={"path": CART, "repo": REPO, "k": 2}).json()
    answer = cloud.loop.run(cloud.plane.similar(REPO, CART, k=2))
    expected = shapes.similar_json(answer, answer.snapshot.indexed_at)
    assert asked["similar"] == expected["similar"]
    assert len(asked["similar"]) == 2
    assert asked["repository"].keys() == expected["repository"].keys()
    only_go = anybody.get(f"{API}/search/similar", params={"path": CART, "language": ["go", "java"]}).json()
    assert only_go["similar"] == []
    prefixed = anybody.get(f"{API}/search/similar", params={"path": CART, "prefix": "shop/m"}).json()
    assert [hit["path"] for hit in prefixed["similar"]] == ["shop/money.py"]


def test_neighbors_are_what_the_graph_says(anybody: httpx.Client) -> None:
    both = anybody.get(f"{API}/graph/neighbors", params={"path": CART}).json()
    assert both["imports"] == [{"path": "shop/money.py", "language": "python", "depth": 1}]
    assert [file["path"] for file in both["importers"]] == ["shop/app.py", "shop/orders.py"]
    deep: dict[str, str | int] = {"path": "shop/money.py", "direction": "importers", "depth": 2}
    one_way = anybody.get(f"{API}/graph/neighbors", params=deep).json()
    assert (one_way["imports"], [file["depth"] for file in one_way["importers"]]) == ([], [1, 2, 2])


def test_the_graph_has_the_shapes_of_the_command_line(cloud: Cloud, anybody: httpx.Client) -> None:
    graph = cloud.loop.run(cloud.plane.stored_graph(REPO))
    as_json = anybody.get(f"{API}/graph").json()
    assert as_json == json.loads(json.dumps(shapes.graph_json(CodeGraph("c0ffee", True, graph, {}, {}))))
    assert sorted(map(tuple, as_json["edges"])) == sorted(EDGES)
    graphml = anybody.get(f"{API}/graph", params={"format": "graphml"})
    assert graphml.headers["content-type"] == "application/graphml+xml"
    assert graphml.text == shapes.graph_graphml(graph)
    assert len(ET.fromstring(graphml.text).findall(".//{*}edge")) == len(EDGES)  # noqa: S314


@pytest.mark.parametrize("route", ["search/similar", "graph/neighbors"])
def test_a_file_that_is_not_there_is_404_with_those_that_look_like_it(anybody: httpx.Client, route: str) -> None:
    document = problem(anybody.get(f"{API}/{route}", params={"path": "cart.py"}), 404)
    assert document["suggestions"] == [CART]
    problem(anybody.get(f"{API}/{route}", params={"path": "\ud7ff'; DROP TABLE x; --"}), 404)
    problem(anybody.get(f"{API}/{route}?path=a%00b"), 400)
    problem(anybody.get(f"{API}/{route}"), 400)


def test_nothing_is_near_a_file_without_an_edge(anybody: httpx.Client) -> None:
    assert problem(anybody.get(f"{API}/search/similar", params={"path": LONELY}), 409)["type"].endswith("isolated-file")
    alone = anybody.get(f"{API}/graph/neighbors", params={"path": LONELY}).json()
    assert (alone["imports"], alone["importers"]) == ([], [])


OUT_OF_RANGE = [
    "search/similar?path=x&k=0",
    "search/similar?path=x&k=1001",
    "search/similar?path=x&language=cobol",
    "graph/neighbors?path=x&depth=0",
    "graph/neighbors?path=x&depth=6",
    "graph/neighbors?path=x&direction=up",
    "graph?format=png",
    "files?limit=0",
    "files?limit=1001",
    "repositories?limit=x",
]


@pytest.mark.parametrize("query", OUT_OF_RANGE)
def test_a_parameter_out_of_range_is_400(anybody: httpx.Client, query: str) -> None:
    assert problem(anybody.get(f"{API}/{query}"), 400)["type"] == "urn:alexandria:problem:invalid-request"


@pytest.mark.parametrize("route", CACHED_ROUTES)
def test_what_changes_with_a_generation_only_is_not_sent_twice(cloud: Cloud, anybody: httpx.Client, route: str) -> None:
    first = anybody.get(route)
    assert first.status_code == 200, first.text
    etag = first.headers["etag"]
    for sent in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        again = anybody.get(route, headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert anybody.get(route, headers={"If-None-Match": '"x"'}).status_code == 200
    cloud.loop.run(put_in(cloud.plane, REPO))
    renewed = anybody.get(route, headers={"If-None-Match": etag})
    assert (renewed.status_code, renewed.headers["etag"] != etag) == (200, True)


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("search/similar?path=none.py", 404),
        ("graph/neighbors?path=none.py", 404),
        (f"search/similar?path={LONELY}", 409),
        ("graph?repo=none", 404),
        ("repositories?cursor=x", 400),
        ("files?cursor=x", 400),
    ],
)
def test_what_is_not_there_is_not_unchanged_either(anybody: httpx.Client, route: str, status: int) -> None:
    problem(anybody.get(f"{API}/{route}", headers={"If-None-Match": "*"}), status)


def test_a_store_that_lost_the_vectors_is_503_until_the_repository_is_indexed_again(
    cloud: Cloud, anybody: httpx.Client
) -> None:
    route = f"{API}/search/similar?path={CART}"
    cloud.engines.vectors.collections.clear()
    answer = anybody.get(route)
    assert problem(answer, 503)["type"] == "urn:alexandria:problem:vectors-lost"
    assert int(answer.headers["retry-after"]) > 0
    problem(anybody.get(f"{API}/search/similar?path=none.py"), 404)
    assert anybody.get(f"{API}/graph/neighbors?path={CART}").status_code == 200
    cloud.loop.run(put_in(cloud.plane, REPO))
    assert anybody.get(route).status_code == 200


def test_other_parameters_have_another_tag(anybody: httpx.Client) -> None:
    tags = {anybody.get(f"{API}/search/similar", params={"path": CART, "k": k}).headers["etag"] for k in (1, 2, 3)}
    assert len(tags) == 3


def test_a_read_token_keeps_others_out_of_every_reading_route(cloud: Cloud) -> None:
    closed = cloud.variables(ALEXANDRIA_READ_TOKEN=READ_TOKEN)
    with running_api(cloud.data, closed) as api, api.client() as anybody:
        reader = {"Authorization": f"Bearer {READ_TOKEN}"}
        for route in READ_ROUTES:
            problem(anybody.get(route), 401)
            problem(anybody.get(route, headers={"Authorization": "Bearer wrong"}), 401)
            assert anybody.get(route, headers=reader).status_code == 200, route
            assert anybody.get(route, headers=ADMIN).status_code == 200, route
        problem(anybody.post(f"{API}/ingestion/ingest/github.com/u/r", headers=reader), 401)
        assert anybody.get("/health/live").status_code == 200
