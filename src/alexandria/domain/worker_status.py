"""What a worker says of itself, in one of four fixed forms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from alexandria.domain.errors import DomainError

MAX_MESSAGE_LENGTH = 500

_TRAINING = "Training Graph on "
_ERROR = "Error: "
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # from undecodable file names; no store can hold them


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """`Idle`, `Training Graph on {repo_url}`, `Error: {message}` or `Offline`.

    Make it with one of the class methods, or again from a `text` that was stored.

    Attributes:
        text: What is stored and shown: one line that can be encoded as UTF-8. Any other text
            raises `DomainError`.
    """

    text: str

    def __post_init__(self) -> None:
        detail = next((self.text[len(p) :] for p in (_TRAINING, _ERROR) if self.text.startswith(p)), None)
        known = self.text in {"Idle", "Offline"} or bool(detail and detail.strip())
        if not known or _CONTROL.search(self.text) or _SURROGATE.search(self.text):
            raise DomainError(f"not a worker status: {self.text[:100]!r}")

    @classmethod
    def idle(cls) -> WorkerStatus:
        """Return `Idle`: waiting for a job."""
        return cls("Idle")

    @classmethod
    def offline(cls) -> WorkerStatus:
        """Return `Offline`: stopped, or not heard of for too long."""
        return cls("Offline")

    @classmethod
    def training(cls, repo_url: str) -> WorkerStatus:
        """Return `Training Graph on {repo_url}`: busy with that repository, in any phase."""
        return cls(_TRAINING + _one_line(repo_url))

    @classmethod
    def error(cls, message: str) -> WorkerStatus:
        """Return `Error: {message}`, on one line and cut to 500 characters."""
        return cls(_ERROR + _one_line(message)[:MAX_MESSAGE_LENGTH].strip())

    def __str__(self) -> str:
        return self.text


def _one_line(text: str) -> str:
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text)).strip() or "unknown"
