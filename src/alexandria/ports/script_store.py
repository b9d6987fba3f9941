"""Port: a server of shared values that runs small programs next to them, each as one atomic step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from alexandria.domain.errors import AlexandriaError

Reply = None | int | str | list["Reply"]
"""What a command answers; text is UTF-8."""


class ScriptStoreError(AlexandriaError):
    """Root of the errors of this port."""


class ScriptStoreUnavailableError(ScriptStoreError):
    """No answer, or one that says to come back later. What was asked for may have happened."""


class ScriptStoreRefusedError(ScriptStoreError):
    """The server answered that it will not: credentials, permissions, or a command that it does not have."""


class ScriptStore(Protocol):
    """One way to one server that understands the commands of Redis.

    No call is repeated on its own: only the caller knows which may be. Each ends within the time
    that the adapter was given, with an answer or an error.
    """

    @abstractmethod
    async def command(self, *words: str | int) -> Reply:
        """Run one command.

        Raises:
            ScriptStoreUnavailableError: No answer.
            ScriptStoreRefusedError: The server refused it.
        """
        ...

    @abstractmethod
    async def now_us(self) -> int | None:
        """Return the server's time in microseconds since 1970, or None if its scripts may read that themselves.

        Raises:
            ScriptStoreUnavailableError: No answer.
            ScriptStoreRefusedError: The server refused it.
        """
        ...
