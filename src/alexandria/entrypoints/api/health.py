"""Whether the stores answer: for `/health`, and once at start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.ports.catalog import CatalogAccessError, CatalogUnavailableError
from alexandria.ports.job_queue import JobQueueError, JobQueueUnavailableError
from alexandria.ports.vector_store import VectorStoreAccessError, VectorStoreUnavailableError

logger = logging.getLogger(__name__)

Check = Callable[[], Coroutine[Any, Any, None]]

_UNAVAILABLE = (JobQueueUnavailableError, CatalogUnavailableError, VectorStoreUnavailableError)
_DEADLINE_MARGIN_S = 2.0


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """How one store answered.

    Attributes:
        name: `queue`, `vector_store` or `database`.
        latency_ms: How long it took.
        error: What it raised; None if it is well.
    """

    name: str
    latency_ms: float
    error: AlexandriaError | None

    @property
    def status(self) -> str:
        """`up`; `down`: it does not answer; `refused`: it answers, and not as it should."""
        if self.error is None:
            return "up"
        return "down" if isinstance(self.error, _UNAVAILABLE) else "refused"

    def shape(self) -> dict[str, Any]:
        """Return it for JSON; what the store said stays in the log."""
        return {"status": self.status, "latency_ms": round(self.latency_ms, 2)}


class _SlowStoreError(JobQueueUnavailableError, CatalogUnavailableError, VectorStoreUnavailableError):
    """A store did not answer a check before our own deadline."""


async def examine(plane: ControlPlane) -> list[StoreHealth]:
    """Ask every store for a sign of life, all at once."""
    checks = {"queue": plane.queue.check, "vector_store": plane.vectors.check, "database": plane.catalog.check}
    deadline_s = plane.settings.store_timeout_seconds + _DEADLINE_MARGIN_S
    return await asyncio.gather(*(_examine(name, check, deadline_s) for name, check in checks.items()))


async def _examine(name: str, check: Check, deadline_s: float) -> StoreHealth:
    began = time.perf_counter()
    error: AlexandriaError | None = None
    try:
        async with asyncio.timeout(deadline_s):
            await check()
    except TimeoutError:
        error = _SlowStoreError(f"no answer within {deadline_s:g} s")
    except AlexandriaError as raised:
        error = raised
    if error is not None:
        logger.warning("the check of the %s failed: %s", name.replace("_", " "), error)
    return StoreHealth(name, (time.perf_counter() - began) * 1000, error)


async def refusals(plane: ControlPlane) -> list[str]:
    """Return a sentence for each store that answers and does not let us in; none for what cannot be reached."""
    deadline_s = plane.settings.store_timeout_seconds + _DEADLINE_MARGIN_S
    examined = await asyncio.gather(
        _examine("queue", plane.queue.check, deadline_s),
        _examine("database", plane.catalog.check, deadline_s),
        _examine("vector_store", plane.vectors.check_access, deadline_s),
    )
    return [f"{one.name}: {one.error}" for one in examined if _is_refusal(one.error)]


def _is_refusal(error: AlexandriaError | None) -> bool:
    if isinstance(error, JobQueueError):
        return not isinstance(error, JobQueueUnavailableError)
    return isinstance(error, CatalogAccessError | VectorStoreAccessError)
