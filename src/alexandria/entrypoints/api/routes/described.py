"""What the OpenAPI document says of answers."""

from __future__ import annotations

from functools import cache
from typing import Any

from alexandria.entrypoints.api.models import PROBLEM_EXAMPLE, Problem
from alexandria.entrypoints.api.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]


def answers(example: Any, description: str, *, status: int = 200, cached: bool = False) -> Responses:
    """Return the answer that is hoped for, and the problem document that stands for all others."""
    problem = {"schema": _problem_schema(), "example": PROBLEM_EXAMPLE}
    found: Responses = {
        status: {"description": description, "content": {"application/json": {"example": example}}},
        "default": {"description": "A problem document (RFC 9457).", "content": {MEDIA_TYPE: problem}},
    }
    if cached:
        found[304] = {"description": "As `If-None-Match` has it; it changes when the repository is indexed again."}
    return found


@cache
def _problem_schema() -> dict[str, Any]:
    return Problem.model_json_schema()
