"""Who may: bearer tokens, compared in constant time, and a brake on guessing."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.api.addresses import RateLimiter
from alexandria.entrypoints.api.problems import ProblemError
from alexandria.entrypoints.settings import MIN_TOKEN_LENGTH, Mode, Settings

logger = logging.getLogger(__name__)

TOKEN_FILE = "api-token"  # noqa: S105  # the name of a file

FREE_FAILURES = 20
FAILURES_PER_MINUTE = 300
MAX_DELAY_S = 0.2
_DELAY_PER_FAILURE_S = 0.01


class Gatekeeper:
    """Checks the tokens of requests.

    An address may fail 20 times in a row; after that each further check is delayed, before the token is
    looked at, by up to 0.2 s. Over how many connections it guesses does not matter beyond that: the limit
    on requests an address counts every one.

    Args:
        admin_token: For those who may submit and cancel; empty: nobody may.
        read_token: For those who may read; empty: everybody may.
    """

    def __init__(self, admin_token: str, read_token: str) -> None:
        self._admin = (admin_token,) if admin_token else ()
        self._read = (read_token, *self._admin) if read_token else ()
        self._failures = RateLimiter(FAILURES_PER_MINUTE, FREE_FAILURES)

    async def admit_admin(self, authorization: Sequence[str], peer: str) -> None:
        """Let those pass who may submit and cancel.

        Raises:
            ProblemError: 401.
        """
        await self._admit(authorization, self._admin, peer)

    async def admit_reader(self, authorization: Sequence[str], peer: str) -> None:
        """Let those pass who may read.

        Raises:
            ProblemError: 401.
        """
        if self._read:
            await self._admit(authorization, self._read, peer)

    async def _admit(self, authorization: Sequence[str], accepted: Sequence[str], peer: str) -> None:
        if debt := self._failures.debt(peer):
            await asyncio.sleep(min(debt * _DELAY_PER_FAILURE_S, MAX_DELAY_S))
        token = _bearer(authorization)
        if token is not None and _is_one_of(token, accepted):
            return
        self._failures.overdraw(peer)
        why = "no token" if not authorization else "malformed" if token is None else "wrong token"
        logger.warning("a request from %s was refused: %s", peer, why, extra={"peer": peer, "reason": why})
        challenge = 'Bearer realm="alexandria"' + (', error="invalid_token"' if token is not None else "")
        raise ProblemError(
            401,
            "this needs a valid token: `Authorization: Bearer <token>`",
            kind="unauthorized",
            headers={"WWW-Authenticate": challenge},
        )


def _bearer(authorization: Sequence[str]) -> str | None:
    """Return the token of the one header, or None if it is not of the form `Bearer <token>`."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and token and " " not in token else None


def _is_one_of(token: str, accepted: Sequence[str]) -> bool:
    # Bytes, as `compare_digest` refuses text that is not ASCII; and all are compared, also after one was found.
    sent = token.encode("utf-8", "surrogateescape")
    return sum([hmac.compare_digest(sent, one.encode()) for one in accepted]) > 0


class TokenFileError(AlexandriaError):
    """The file with the token of this machine cannot be used."""


def with_admin_token(settings: Settings) -> Settings:
    """Return the settings with a token for submitting: in LOCAL, if none is set, from a file that is made once.

    Raises:
        TokenFileError: The file cannot be made or read.
    """
    if settings.pharos_admin_token.get_secret_value() or settings.mode is not Mode.LOCAL:
        return settings
    path = settings.data_dir / TOKEN_FILE
    try:
        token = _kept_token(path)
    except OSError as error:
        raise TokenFileError(f"{path} cannot be used: {error.strerror}. Set PHAROS_ADMIN_TOKEN instead") from error
    logger.info("the token for submitting jobs is in %s", path)
    return settings.model_copy(update={"pharos_admin_token": SecretStr(token)})


def _kept_token(path: Path) -> str:
    """Return the token in the file, which is made, for its owner alone, if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written whole under another name first: two that start at once agree on the one that came first.
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise TokenFileError(f"{path} can be read by others: remove it, and a new token is made")
    token = path.read_text().strip()
    if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenFileError(f"{path} holds no token: remove it, and a new one is made")
    return token
