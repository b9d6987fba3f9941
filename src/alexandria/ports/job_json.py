"""A record of the history as one line of JSON: readable by people, and the same in every store."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from alexandria.domain.errors import DomainError
from alexandria.domain.job import JobRecord, JobState

_TEXTS = ("job_id", "repo_url", "reason", "commit", "device", "worker_id")
_COUNTS = ("files_processed", "files_failed", "edges", "imports_unresolved", "embeddings_generated", "attempt")
_NUMBERS = ("duration_seconds", "final_loss", "edge_auc")
_NAMES = frozenset(field.name for field in fields(JobRecord))


def record_to_json(record: JobRecord) -> str:
    """Return ASCII, one object with the fields of the record; times in ISO 8601 with their offset."""
    values = asdict(record)
    values["timestamp"] = record.timestamp.isoformat()
    values["started_at"] = record.started_at and record.started_at.isoformat()
    return json.dumps(values)


def record_from_json(text: str | bytes) -> JobRecord:
    """Return the record; fields that it does not know are ignored, those with a default may be missing.

    Raises:
        ValueError: `text` is none.
    """
    try:
        values = _expect(json.loads(text), dict)
        return JobRecord(**{name: _read(name, value) for name, value in values.items() if name in _NAMES})
    except (TypeError, OverflowError, RecursionError, DomainError) as error:
        raise ValueError(f"not the record of a job: {error}") from error


def _read(name: str, value: object) -> Any:
    """Return `value` as the field `name` holds it, which the dataclass itself does not check."""
    if name == "status":
        return JobState(_expect(value, str))
    if name == "timestamp" or (name == "started_at" and value is not None):
        return datetime.fromisoformat(_expect(value, str)).astimezone(UTC)
    if name in _TEXTS:
        return _expect(value, str)
    if name in _COUNTS:
        return _expect(value, int)
    if name in _NUMBERS and (value is not None or name == "duration_seconds"):
        return float(_expect(value, int, float))
    return None


def _expect(value: object, *kinds: type) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{value!r:.50} is not of {' or '.join(kind.__name__ for kind in kinds)}")
    return value
