"""The numbers of the queue, from the settings."""

from __future__ import annotations

from alexandria.entrypoints.settings import Settings
from alexandria.ports.job_queue import QueueRules


def queue_rules(settings: Settings) -> QueueRules:
    """Return the rules that every process on one queue must share."""
    return QueueRules(
        cap=settings.queue_cap,
        ttl_s=settings.job_ttl_seconds,
        lease_s=settings.lease_seconds,
        max_attempts=settings.max_attempts,
    )
