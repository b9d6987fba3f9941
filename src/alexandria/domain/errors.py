"""The root of every error that Alexandria raises on purpose, and the errors of the domain."""

from __future__ import annotations


class AlexandriaError(Exception):
    """Root of all errors raised on purpose.

    `str(error)` is one sentence for a person: what is wrong and, where it helps, what to do.
    """


class DomainError(AlexandriaError):
    """A rule of the domain was broken by the value or the move that was asked for."""


class InvalidRepoUrlError(DomainError):
    """The text is not the address of a repository that we accept.

    Attributes:
        reason: Which rule refused it, without the text itself (it may carry a secret).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a repository URL that is accepted: {reason}")
        self.reason = reason


class InvalidRefError(InvalidRepoUrlError):
    """The text is no branch, tag or commit."""

    def __init__(self) -> None:
        super().__init__("the ref must be a branch, a tag or a commit hash")
        self.args = ("not a ref that is accepted: name a branch, a tag or a commit hash (no HEAD~1, no range)",)


class IllegalTransitionError(DomainError):
    """A job was asked to make a move that its transition table does not have."""

    def __init__(self, current: str, event: str) -> None:
        super().__init__(f"a job that is {current} cannot {event}")
        self.current = current
        self.event = event


class InvalidGraphError(DomainError):
    """Files, edges or kinds do not make a dependency graph."""


class InvalidEmbeddingError(DomainError):
    """Vectors, paths and mask do not make an embedding set."""
