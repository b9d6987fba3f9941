"""What is indexed, what is near a file, and what hangs on it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from alexandria.application.index import CodeGraph
from alexandria.application.search import SimilarAnswer, UnsettledIndexError
from alexandria.domain.language import Language
from alexandria.entrypoints import shapes
from alexandria.entrypoints.api import examples, models
from alexandria.entrypoints.api.problems import ProblemError
from alexandria.entrypoints.api.routes.described import answers
from alexandria.entrypoints.api.state import READER, State, json_response
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.ports.catalog import MAX_DEPTH, Direction, Neighbors

Answer = TypeVar("Answer", SimilarAnswer, Neighbors)

router = APIRouter(prefix="/api/v1", dependencies=[READER])

MAX_K = 1_000
PAGE = 100
MAX_PAGE = 1_000
_RE_READS = 5
GRAPHML = "application/graphml+xml"


_WITH_GRAPHML = answers(examples.GRAPH, "The graph; GraphML if it was asked for.", cached=True)
_WITH_GRAPHML[200]["content"][GRAPHML] = {"schema": {"type": "string"}, "example": examples.GRAPHML}


class GraphFormat(StrEnum):
    """What `graph` can answer with."""

    JSON = "json"
    GRAPHML = "graphml"


class Directions(StrEnum):
    """Which way `neighbors` looks."""

    IMPORTS = "imports"
    IMPORTERS = "importers"
    BOTH = "both"


Repo = Annotated[
    str,
    Query(
        description="Key of a repository, or the end of it; may be left out where only one is indexed.",
        examples=["github.com/pallets/flask"],
    ),
]
FilePath = Annotated[
    str, Query(min_length=1, description="A file, relative to its root.", examples=["src/flask/app.py"])
]
Prefix = Annotated[str, Query(description="Only files whose path starts with this.")]
Cursor = Annotated[str, Query(description="`next` of the page before.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]


@router.get(
    "/repositories",
    tags=["repositories"],
    response_model=models.Repositories,
    responses=answers(examples.REPOSITORIES, "Repositories, by key.", cached=True),
    summary="What is indexed",
)
async def repositories(request: Request, state: State, limit: PageSize = PAGE, cursor: Cursor = "") -> Response:
    """Return the indexed repositories with commit, age, counts and the share of unresolved imports."""
    after = _read_cursor(cursor, 1)[0] if cursor else ""
    found = await state.plane.repos()
    etag = _etag(request, *(f"{one.repo}@{one.generation}" for one in found))
    if _is_known(request, etag):
        return _not_modified(etag)
    start = bisect_right([one.repo for one in found], after) if after else 0
    page = found[start : start + limit]
    more = start + limit < len(found)
    shape = {
        "repositories": [shapes.snapshot_json(one, _now()) for one in page],
        "next": _cursor(page[-1].repo) if more else None,
    }
    return _cached_response(shape, etag)


@router.get(
    "/repositories/{repo:path}",
    tags=["repositories"],
    response_model=models.OneRepository,
    responses=answers({"repository": examples.REPOSITORY}, "The repository.", cached=True),
    summary="One repository",
)
async def repository(
    request: Request,
    state: State,
    *,
    repo: Annotated[str, Path(description="Its key, or the end of it.", examples=["github.com/pallets/flask"])],
) -> Response:
    """Return one repository."""
    snapshot = await state.plane.repo(repo)
    etag = _etag(request, snapshot.generation)
    if _is_known(request, etag):
        return _not_modified(etag)
    return _cached_response({"repository": shapes.snapshot_json(snapshot, _now())}, etag)


@router.get(
    "/files",
    tags=["repositories"],
    response_model=models.Files,
    responses=answers(examples.FILES, "Files, by path.", cached=True),
    summary="The files of a repository",
)
async def files(
    request: Request,
    state: State,
    *,
    repo: Repo = "",
    prefix: Prefix = "",
    limit: PageSize = PAGE,
    cursor: Cursor = "",
) -> Response:
    """Return the source files, a page at a time, all pages of one generation."""
    generation, after = _read_cursor(cursor, 2) if cursor else ("", "")
    for _ in range(_RE_READS):
        snapshot = await state.plane.repo(repo)
        if generation not in {"", str(snapshot.generation)}:
            raise ProblemError(
                409, "the repository was indexed again since the first page: begin again without `cursor`"
            )
        etag = _etag(request, snapshot.generation)
        if _is_known(request, etag):
            return _not_modified(etag)
        page = await state.plane.files(snapshot.repo, path_prefix=prefix, after=after, limit=limit + 1)
        if (await state.plane.repo(snapshot.repo)).generation == snapshot.generation:
            break
    else:
        raise _unsettled()
    shape = {
        "repository": shapes.snapshot_json(snapshot, _now()),
        "files": [
            {
                "path": file.path,
                "language": str(file.language),
                "imports": file.imports,
                "importers": file.importers,
                "isolated": file.isolated,
            }
            for file in page[:limit]
        ],
        "next": _cursor(str(snapshot.generation), page[limit - 1].path) if len(page) > limit else None,
    }
    return _cached_response(shape, etag)


@router.get(
    "/search/similar",
    tags=["search"],
    response_model=models.Similar,
    responses=answers(examples.SIMILAR, "Files near it, best first.", cached=True),
    summary="Files that stand where this one stands",
)
async def similar(
    request: Request,
    state: State,
    *,
    path: FilePath,
    repo: Repo = "",
    k: Annotated[int, Query(ge=1, le=MAX_K, description="How many files.")] = 10,
    language: Annotated[tuple[Language, ...], Query(description="Only files of these languages.")] = (),
    prefix: Prefix = "",
) -> Response:
    """Return the files whose place in the structure is most like that of `path`, best first."""
    return await _answer_of_one_generation(
        request,
        state.plane,
        repo,
        lambda: state.plane.similar(repo, path, k=k, languages=language, path_prefix=prefix),
        shapes.similar_json,
    )


@router.get(
    "/graph/neighbors",
    tags=["search"],
    response_model=models.Neighbors,
    responses=answers(examples.NEIGHBORS, "What it imports, and what imports it.", cached=True),
    summary="What a file imports, and what hangs on it",
)
async def neighbors(
    request: Request,
    state: State,
    *,
    path: FilePath,
    repo: Repo = "",
    direction: Annotated[Directions, Query(description="Which way to look.")] = Directions.BOTH,
    depth: Annotated[int, Query(ge=1, le=MAX_DEPTH, description="How many edges away at most.")] = 1,
) -> Response:
    """Return what `path` imports and what imports it, up to `depth` edges away."""
    directions = tuple(Direction) if direction is Directions.BOTH else (Direction(direction.value),)
    return await _answer_of_one_generation(
        request,
        state.plane,
        repo,
        lambda: state.plane.neighbors(repo, path, directions=directions, depth=depth),
        shapes.neighbors_json,
    )


@router.get(
    "/graph",
    tags=["search"],
    response_model=models.Graph,
    responses=_WITH_GRAPHML,
    summary="The graph of a repository",
)
async def graph(
    request: Request,
    state: State,
    *,
    repo: Repo = "",
    format: Annotated[GraphFormat, Query(description="What to answer with.")] = GraphFormat.JSON,
) -> Response:
    """Return the dependency graph as it was indexed, importer to imported."""
    for _ in range(_RE_READS):
        snapshot = await state.plane.repo(repo)
        etag = _etag(request, snapshot.generation)
        if _is_known(request, etag):
            return _not_modified(etag)
        stored = await state.plane.stored_graph(snapshot.repo)
        if (await state.plane.repo(snapshot.repo)).generation == snapshot.generation:
            break
    else:
        raise _unsettled()
    code = CodeGraph(commit=snapshot.commit, dirty=snapshot.dirty, graph=stored, not_read={}, skipped={})
    # A large graph takes a while to write: other requests go on meanwhile.
    if format is GraphFormat.GRAPHML:
        text = await asyncio.to_thread(shapes.graph_graphml, stored)
        return Response(text, 200, _cache_headers(etag), media_type=GRAPHML)
    text = await asyncio.to_thread(lambda: json.dumps(shapes.graph_json(code)))
    return Response(text, 200, _cache_headers(etag), media_type="application/json")


def _unsettled() -> UnsettledIndexError:
    return UnsettledIndexError("the repository is being indexed again and again right now: try once more")


def _now() -> datetime:
    return datetime.now(UTC)


def _etag(request: Request, *generations: object) -> str:
    """Return the tag of an answer; weak, as the age of the index in it goes on."""
    asked = f"{request.url.path}?{request.url.query}"
    digest = hashlib.sha256("\n".join([asked, *map(str, generations)]).encode("utf-8", "replace"))
    return f'W/"{digest.hexdigest()[:32]}"'


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has this answer already (RFC 9110, section 13.1.2: compared weakly)."""
    sent = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in sent or etag.removeprefix("W/") in sent


async def _answer_of_one_generation(
    request: Request,
    plane: ControlPlane,
    repo: str,
    ask: Callable[[], Awaitable[Answer]],
    shape: Callable[[Answer, datetime], shapes.Json],
) -> Response:
    """Answer with the shape of what `ask` returns, unless the client has the answer of this generation already."""
    # `*` asks whether there is an answer at all, and whether the file is there only the search can tell.
    if request.headers.get("if-none-match", "*").strip() != "*":
        snapshot = await plane.repo(repo)
        if _is_known(request, etag := _etag(request, snapshot.generation)):
            return _not_modified(etag)
    answer = await ask()
    if _is_known(request, etag := _etag(request, answer.snapshot.generation)):
        return _not_modified(etag)
    return _cached_response(shape(answer, _now()), etag)


def _cache_headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def _cached_response(shape: shapes.Json, etag: str) -> Response:
    return json_response(shape, headers=_cache_headers(etag))


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers=_cache_headers(etag))


def _cursor(*parts: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, length: int) -> tuple[str, ...]:
    """Return the parts of a cursor.

    Raises:
        ProblemError: 400: it is none of ours.
    """
    try:
        parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != length or not all(isinstance(part, str) for part in parts):
        raise ProblemError(400, "`cursor` is not the `next` of a page", kind="invalid-request")
    return tuple(parts)
