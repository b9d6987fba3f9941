"""One repository at one commit, as it was indexed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alexandria.domain.errors import DomainError
from alexandria.domain.graph import ImportCounts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of an indexed repository without reading its files or vectors.

    Attributes:
        repo: Key of the repository (`RepoUrl.key` or `LocalRepo.key`).
        url: Its address for people.
        commit: Commit that was read; empty if the directory is no git repository or has no commit.
        generation: Fencing token of the run that made it; a larger one is newer.
        indexed_at: When it was activated, UTC.
        files: Nodes of the graph.
        linked: Files with an edge, which alone can be searched.
        edges: Directed edges.
        files_failed: Files that could not be read whole.
        imports: How the imports ended.
        method: Embedding method.
        seed: Its seed.
        device: What it was trained on.
        final_loss: Loss of the last epoch, None without epochs.
        edge_auc: As `EmbeddingReport.edge_auc`.
        ref: Branch, tag or commit that was asked for; empty for the default.
        dirty: The working directory held changes that are in no commit.
    """

    repo: str
    url: str
    commit: str
    generation: int
    indexed_at: datetime
    files: int
    linked: int
    edges: int
    files_failed: int = 0
    imports: ImportCounts = field(default_factory=ImportCounts)
    method: str = "node2vec"
    seed: int = 0
    device: str = "cpu"
    final_loss: float | None = None
    edge_auc: float | None = None
    ref: str = ""
    dirty: bool = False

    def __post_init__(self) -> None:
        if self.indexed_at.utcoffset() != timedelta(0):
            raise DomainError("the time of indexing must be in UTC")
        if self.generation < 1:
            raise DomainError("a generation is at least 1")
        if not 0 <= self.linked <= self.files:
            raise DomainError("there cannot be more linked files than files")
