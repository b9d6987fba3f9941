"""The shapes of requests and answers, for the OpenAPI document; `shapes` and the routes make the answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.job import JobState, Phase
from alexandria.domain.language import Language

EDGE_KINDS = tuple(kind.name.lower() for kind in EdgeKind)
JOB_ID = "019aa5a0-6c00-7d5e-8b9a-3f1c2d4e5a6b"
FLASK = "https://github.com/pallets/flask"
TIME = "2026-11-21T09:30:00+00:00"


class Shape(BaseModel):
    """Base of all."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Submission(Shape):
    """A repository to index."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"repo_url": FLASK, "ref": "main"}]})

    repo_url: str = Field(description="`https://host/owner/name`, `host/owner/name` or `git@host:owner/name`.")
    ref: str = Field("", description="Branch, tag or commit; empty for the default branch.")


class Dispatched(Shape):
    """A job that waits or runs."""

    status: Literal["dispatched"]
    job_id: str
    queue_position: int = Field(description="1 for the next to be taken; 0 if it runs.", ge=0)
    queue_size: int = Field(description="Jobs that wait, this one included.", ge=0)
    max_queue_size: int = Field(description="Jobs at which a further one is refused.", ge=1)
    target: str = Field(description="The repository, in its canonical form.")
    ref: str
    state: JobState
    created: bool = Field(
        description="False: a job for the same repository and ref was there already, and is this one."
    )


class Record(Shape):
    """How a job ended."""

    job_id: str
    repo_url: str
    status: Literal["complete", "failed", "skipped", "cancelled"]
    timestamp: str
    started_at: str | None
    duration_seconds: float
    reason: str
    commit: str
    files_processed: int
    files_failed: int
    edges: int
    imports_unresolved: int
    embeddings_generated: int
    final_loss: float | None
    edge_auc: float | None
    device: str
    worker_id: str
    attempt: int


class JobShape(Shape):
    """A job."""

    id: str
    repo_url: str
    ref: str
    state: JobState
    attempt: int
    submitted_at: str


class JobNow(JobShape):
    """A job as it is now."""

    position: int
    phase: Phase | None
    fraction: float = Field(description="Share of the phase that is done, 0 to 1.")
    percentage: float = Field(description="The same in percent.")
    worker_id: str
    cancel_requested: bool
    record: Record | None


class RunningShape(JobShape):
    """A job that runs."""

    worker_id: str
    phase: Phase | None
    fraction: float
    claimed_at: str
    lease_until: str
    lapsed: bool


class Jobs(Shape):
    """The queue and its history."""

    running: list[RunningShape]
    pending: list[JobShape]
    history: list[Record]


class History(Shape):
    """The latest records, newest first."""

    history: list[Record]


class WorkerShape(Shape):
    """A worker that is heard of."""

    worker_id: str
    status: str
    job_id: str
    phase: Phase | None
    fraction: float
    percentage: float
    seen_at: str


class WorkerStatusShape(Shape):
    """What the workers do."""

    status: str = Field(description="`Idle`, `Training Graph on {repo_url}`, `Error: {message}` or `Offline`.")
    workers: list[WorkerShape]


class Imports(Shape):
    """How the imports of a repository ended."""

    inside: int
    external: int
    unresolved: int
    dynamic: int
    unsupported: int
    unresolved_share: float


class Repository(Shape):
    """A repository as it was indexed."""

    repo: str
    url: str
    commit: str
    generation: int
    indexed_at: str
    files: int
    linked: int = Field(description="Files with an edge, which alone can be searched.")
    edges: int
    files_failed: int
    imports: Imports
    method: str
    seed: int
    device: str
    final_loss: float | None
    edge_auc: float | None
    ref: str
    dirty: bool
    age_seconds: float
    converged: bool | None


class Repositories(Shape):
    """Repositories, by key."""

    repositories: list[Repository]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class OneRepository(Shape):
    """A repository."""

    repository: Repository


class FileShape(Shape):
    """A source file."""

    path: str
    language: Language
    imports: int
    importers: int
    isolated: bool


class Files(Shape):
    """Source files, by path."""

    repository: Repository
    files: list[FileShape]
    next: str | None


class SimilarShape(Shape):
    """A file that is near."""

    path: str
    language: Language
    similarity: float = Field(description="Cosine, -1 to 1.")


class Similar(Shape):
    """Files near one file, best first."""

    repository: Repository
    path: str
    similar: list[SimilarShape]


class ReachedShape(Shape):
    """A file that can be reached along edges."""

    path: str
    language: Language
    depth: int


class Neighbors(Shape):
    """What a file imports, and what imports it."""

    repository: Repository
    path: str
    imports: list[ReachedShape]
    importers: list[ReachedShape]


class Unresolved(Shape):
    """An import that was not found."""

    path: str
    line: int
    specifier: str
    reason: str


class Graph(Shape):
    """A dependency graph; the API does not keep `unresolved` and `not_read`, which are empty."""

    commit: str
    files: list[str]
    languages: list[Language]
    edges: list[tuple[str, str]]
    edge_kinds: list[Literal[EDGE_KINDS]]  # type: ignore[valid-type]  # the names of an enumeration of integers
    unresolved: list[Unresolved]
    imports: Imports
    not_read: dict[str, str]


class StoreShape(Shape):
    """How a store answered."""

    status: Literal["up", "down", "refused"]
    latency_ms: float


class Stores(Shape):
    """Every store."""

    queue: StoreShape
    vector_store: StoreShape
    database: StoreShape


class Health(Shape):
    """All is well."""

    status: Literal["healthy"]
    services: Stores


class Alive(Shape):
    """The process answers."""

    status: Literal["alive"]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


PROBLEM_EXAMPLE: dict[str, Any] = {
    "type": "urn:alexandria:problem:invalid-repository-url",
    "title": "Bad Request",
    "status": 400,
    "detail": "not a repository URL that is accepted: only https is accepted",
    "instance": "urn:alexandria:request:6f1f2c0f5d0f4c3e9a58b1f7f0d1c2b3",
    "request_id": "6f1f2c0f5d0f4c3e9a58b1f7f0d1c2b3",
}
