"""The OpenAPI document: it holds for every answer, its examples fit, and its page needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alexandria.entrypoints.api import models
from integration.api.running import ADMIN, Cloud, RunningApi

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
STREAMS = "/events"
"""They end when a job does; `test_jobs` reads them."""


@pytest.fixture(scope="module")
def document(shared_api: RunningApi) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{shared_api.url}/openapi.json").json()
    return found


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def test_every_route_is_in_the_document_with_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    named = dict(operations_of(document))
    assert len(named) == 18
    for name, operation in named.items():
        assert operation["summary"], name
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert "422" not in operation["responses"], name
        success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        content = next(iter(success["content"].values()))
        assert content["example"], name
        reference = content.get("schema", {}).get("$ref", "")
        if reference:
            getattr(models, reference.rpartition("/")[2]).model_validate_json(json.dumps(content["example"]))
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])


def check_conformance(api: RunningApi, cloud: Cloud, document: dict[str, Any], cases: int) -> None:
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    tried = [operation for operation in operations if not operation.path.endswith(STREAMS)]
    for operation in tried:
        every_case(api, cloud, operation, max(1, cases // len(tried)))


def every_case(api: RunningApi, cloud: Cloud, operation: Any, cases: int) -> None:
    strategy = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    count = 0

    @seed(20261121)
    @settings(
        max_examples=cases,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def holds(case: Any) -> None:
        nonlocal count
        if count % 8 == 0:
            cloud.empty_queue()  # so that some are taken and some are one too many
        count += 1
        case.headers = {**(case.headers or {}), **ADMIN}
        response = case.call(base_url=api.url)
        case.validate_response(response, checks=CHECKS)

    holds()


def test_answers_are_as_the_document_says(shared_api: RunningApi, cloud: Cloud, document: dict[str, Any]) -> None:
    check_conformance(shared_api, cloud, document, 112)


@pytest.mark.long
def test_10_000_answers_are_as_the_document_says(
    shared_api: RunningApi, cloud: Cloud, document: dict[str, Any]
) -> None:
    check_conformance(shared_api, cloud, document, 10_000)


def test_the_page_needs_nothing_from_elsewhere(anybody: httpx.Client, document: dict[str, Any]) -> None:
    page = anybody.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", page.text) == ["openapi.json"]
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    for name, _ in operations_of(document):
        method, _, path = name.partition(" ")
        assert f'<span class="m">{method}</span> {path}<' in page.text
