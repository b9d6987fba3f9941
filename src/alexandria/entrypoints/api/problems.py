"""Errors as problem documents (RFC 9457): what every answer that is no success carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from alexandria.application.search import (
    IsolatedFileError,
    LostVectorsError,
    NoSuchRepositoryError,
    UnknownFileError,
    UnsettledIndexError,
)
from alexandria.domain.errors import AlexandriaError, InvalidRepoUrlError
from alexandria.ports.catalog import CatalogError, RepositoryNotFoundError
from alexandria.ports.job_queue import JobNotFoundError, JobQueueError, QueueFullError
from alexandria.ports.status_board import StatusBoardError
from alexandria.ports.vector_store import VectorStoreError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 10
QUEUE_FULL_RETRY_AFTER_S = 60
_SHOWN = 10

STORES: tuple[tuple[type[AlexandriaError], str, str], ...] = (
    (JobQueueError, "queue", "the job queue"),
    (StatusBoardError, "queue", "the status board, which is in the job queue's store,"),
    (CatalogError, "database", "the database"),
    (VectorStoreError, "vector_store", "the vector store"),
)
"""The root of each port's errors, the store's name in `/health` and `/metrics`, and its name for people."""


class ProblemError(HTTPException):
    """An answer that is no success.

    Attributes:
        kind: Last part of the `type` URN; empty for what the status says alone.
        members: More members of the document.
        store: Which store failed; empty if none did.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        store: str = "",
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind
        self.members = dict(members or {})
        self.store = store


def problem_document(problem: ProblemError, request_id: str) -> dict[str, Any]:
    """Return the members of the document.

    `instance` names the request and not its address: an address may carry a secret.
    """
    return {
        "type": f"urn:alexandria:problem:{problem.kind}" if problem.kind else "about:blank",
        "title": _title(problem.status_code),
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": f"urn:alexandria:request:{request_id}",
        "request_id": request_id,
        **problem.members,
    }


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """Return the answer."""
    return Response(
        json.dumps(problem_document(problem, request_id)),
        problem.status_code,
        problem.headers,
        media_type=MEDIA_TYPE,
    )


def problem_of(error: AlexandriaError) -> ProblemError:
    """Return what an error that was raised on purpose means to a client.

    What a store said is not passed on: it is for the log, and may name hosts and paths.
    """
    match error:
        case InvalidRepoUrlError():
            return ProblemError(400, str(error), kind="invalid-repository-url")
        case QueueFullError():
            return _queue_full(error)
        case UnsettledIndexError():
            return ProblemError(503, str(error), kind="unsettled-index", headers={"Retry-After": "1"})
        case LostVectorsError():
            detail = "the vector store has lost the vectors of this repository: submit it again"
            return ProblemError(
                503,
                detail,
                kind="vectors-lost",
                headers={"Retry-After": str(QUEUE_FULL_RETRY_AFTER_S)},
                store="vector_store",
            )
    return _not_there(error) or _store_problem(error)


def _queue_full(error: QueueFullError) -> ProblemError:
    return ProblemError(
        429,
        str(error),
        kind="queue-full",
        headers={"Retry-After": str(QUEUE_FULL_RETRY_AFTER_S)},
        members={"queue_size": error.pending, "max_queue_size": error.cap},
    )


def _not_there(error: AlexandriaError) -> ProblemError | None:
    match error:
        case JobNotFoundError():
            detail = "no job has this id, or it ended so long ago that it is forgotten"
            return ProblemError(404, detail, kind="no-such-job")
        case NoSuchRepositoryError():
            return _no_such_repository(error)
        case RepositoryNotFoundError():
            return ProblemError(404, "the repository is not indexed any more", kind="no-such-repository")
        case UnknownFileError():
            # What was asked for is not repeated: it is the client's text, and may hold a secret.
            detail = "no source file of this name was there when the repository was indexed"
            return ProblemError(404, detail, kind="no-such-file", members={"suggestions": list(error.suggestions)})
        case IsolatedFileError():
            detail = "the file imports no file of its repository and none imports it: nothing is near it"
            return ProblemError(409, detail, kind="isolated-file")
    return None


def _no_such_repository(error: NoSuchRepositoryError) -> ProblemError:
    known = list(error.known[:_SHOWN])
    if not known:
        detail = "nothing is indexed yet: submit a repository first"
    elif not error.wanted:
        detail = "several repositories are indexed: name one as `repo`"
    else:
        detail = "`repo` does not name one indexed repository: give its whole key"
    return ProblemError(404, detail, kind="no-such-repository", members={"repositories": known})


def _store_problem(error: AlexandriaError) -> ProblemError:
    for root, store, name in STORES:
        if isinstance(error, root):
            refused = "Unavailable" not in type(error).__name__
            state = "cannot be used as it is set up; its operator has to look" if refused else "does not answer"
            return ProblemError(
                503,
                f"{name} {state}: try again later",
                kind="store-unavailable",
                headers={"Retry-After": str(RETRY_AFTER_S)},
                members={"store": store},
                store=store,
            )
    return internal_error()


def internal_error() -> ProblemError:
    """Return what a client learns of a mistake in the program: that there is one."""
    return ProblemError(500, "something went wrong here; the log has it under this request id")


def problem_of_validation(error: RequestValidationError) -> ProblemError:
    """Return the faults of a request, without the values that were sent."""
    faults = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()[:_SHOWN]]
    return ProblemError(400, "; ".join(faults), kind="invalid-request")


def problem_of_http(error: HTTPException) -> ProblemError:
    """Return the problem of an error of the framework."""
    if isinstance(error, ProblemError):
        return error
    sentences = {
        404: "there is nothing at this address; /docs lists what there is",
        405: "this address does not take this method; `Allow` lists those that it takes",
    }
    detail = sentences.get(error.status_code) or _title(error.status_code)
    return ProblemError(error.status_code, detail, headers=error.headers)


def _place(location: tuple[Any, ...]) -> str:
    # The name of a field that we do not have was chosen by the client: it is not repeated.
    known = [str(part) for part in location if isinstance(part, int) or str(part) in _FIELDS]
    return ".".join(known) or "request"


_FIELDS = frozenset(
    [
        "body",
        "query",
        "path",
        "repo_url",
        "ref",
        "repo",
        "k",
        "language",
        "prefix",
        "direction",
        "depth",
        "format",
        "limit",
        "cursor",
        "job_id",
    ]
)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
