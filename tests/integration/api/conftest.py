"""One cloud and one API for the tests of this directory; what changes settings starts an API of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integration.api.running import ADMIN, Cloud, RunningApi, running_api, running_cloud


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud("api", tmp_path_factory.mktemp("api")) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: Cloud) -> Cloud:
    shared_cloud.engines.queue.faults.clear()
    shared_cloud.empty_queue()
    return shared_cloud


@pytest.fixture(scope="session")
def shared_api(shared_cloud: Cloud) -> Iterator[RunningApi]:
    data: Path = shared_cloud.data
    with running_api(data, shared_cloud.variables()) as api:
        yield api


@pytest.fixture
def api(shared_api: RunningApi, cloud: Cloud) -> RunningApi:
    """Return the API, its queue empty."""
    return shared_api


@pytest.fixture
def client(api: RunningApi) -> Iterator[httpx.Client]:
    """Return a client that may submit."""
    with api.client(**ADMIN) as client:
        yield client


@pytest.fixture
def anybody(api: RunningApi) -> Iterator[httpx.Client]:
    """Return a client without a token."""
    with api.client() as client:
        yield client
