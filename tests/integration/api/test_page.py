"""`docs/api.md`: each request on the page is made, and its answer is the one on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from integration.api.running import Cloud
from support.engines import ADMIN_TOKEN

PAGE = Path(__file__).parents[3] / "docs/api.md"
BLOCKS = re.compile(r"```http\n(.*?)```\n```(json|text)(?: (\d+))?\n(.*?)```", re.DOTALL)

# What differs from run to run; all else must be as it is on the page.
IDS = frozenset(["job_id", "id", "request_id", "instance", "next"])
TIMES = frozenset(["timestamp", "submitted_at", "indexed_at", "age_seconds", "generation", "latency_ms", "similarity"])


def like(shape: Any, name: str = "") -> Any:
    """Return `shape` with the type in place of each value that differs from run to run."""
    if isinstance(shape, dict):
        return {key: like(value, key) for key, value in shape.items()}
    if isinstance(shape, list):
        return [like(value) for value in shape]
    return type(shape).__name__ if name in IDS | TIMES else shape


def requests_of(page: str) -> Iterator[tuple[str, str, int, str]]:
    for request, kind, status, answer in BLOCKS.findall(page):
        yield request, kind, int(status or 200), answer


def send(client: httpx.Client, written: str, job: str) -> httpx.Response:
    head, _, body = written.replace("$TOKEN", ADMIN_TOKEN).replace("$JOB", job).partition("\n\n")
    first, *lines = head.strip().split("\n")
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    if path.endswith("/events"):
        with client.stream(method, path, headers=headers) as response:
            text = next(response.iter_text())
            return httpx.Response(response.status_code, text=text)
    return client.request(method, path, headers=headers, content=body.strip())


def test_every_request_of_the_page_has_the_answer_of_the_page(cloud: Cloud, anybody: httpx.Client) -> None:
    written = list(requests_of(PAGE.read_text()))
    assert len(written) == 18
    job = ""
    for request, kind, status, answer in written:
        response = send(anybody, request, job)
        assert response.status_code == status, (request, response.text)
        if kind == "json":
            shape = response.json()
            assert like(shape) == like(json.loads(answer)), request
            job = job or shape.get("job_id", "")
        else:
            assert answer.split("\n")[0].split(" ")[0] in response.text, request


def test_every_route_is_on_the_page(anybody: httpx.Client) -> None:
    page = PAGE.read_text()
    for path in anybody.get("/openapi.json").json()["paths"]:
        fixed = path.partition("{")[0].rstrip("/")
        assert fixed in page, path


def test_every_kind_of_problem_is_on_the_page() -> None:
    sources = (PAGE.parents[1] / "src/alexandria/entrypoints/api").rglob("*.py")
    kinds = {kind for source in sources for kind in re.findall(r'kind="([a-z-]+)"', source.read_text())}
    assert len(kinds) > 10
    assert {kind for kind in kinds if f"`{kind}`" not in PAGE.read_text()} == set()
