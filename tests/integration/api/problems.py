"""What every answer that is no success must be."""

from __future__ import annotations

from typing import Any

import httpx


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of `response`, held against RFC 9457 and our promises."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["detail"]
    assert document["title"]
    assert document["type"] == "about:blank" or document["type"].startswith("urn:alexandria:problem:")
    assert document["instance"] == f"urn:alexandria:request:{document['request_id']}"
    assert "Traceback" not in response.text
    assert 'File "' not in response.text
    return document
