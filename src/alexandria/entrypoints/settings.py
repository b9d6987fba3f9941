"""Every setting, in one place: its meaning, default and unit."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.repo_url import DEFAULT_HOSTS


class SettingsError(AlexandriaError):
    """One or more settings are wrong; `str()` names every one of them."""


class Mode(StrEnum):
    """Which half of the system this process is."""

    LOCAL = "LOCAL"


def default_data_dir() -> Path:
    """Return where the embedded store lives unless `ALEXANDRIA_DATA` says otherwise.

    `$XDG_DATA_HOME/alexandria`, else `~/.local/share/alexandria` (XDG Base Directory
    Specification 0.8); `%LOCALAPPDATA%` on Windows.
    """
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", "")
    # The specification says that a relative path is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return root / "alexandria"


class Settings(BaseSettings):
    """Settings from the environment; names are upper case there.

    An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True)

    mode: Mode = Field(Mode.LOCAL, description="Which half this process is: LOCAL runs everything on one machine.")
    data_dir: Path = Field(
        default_factory=default_data_dir,
        validation_alias=AliasChoices("ALEXANDRIA_DATA", "data_dir"),
        description="Directory of the embedded store. Made when it is not there.",
    )
    allowed_repo_hosts: Annotated[frozenset[str], NoDecode] = Field(
        DEFAULT_HOSTS, description="Hosts that repositories may come from, separated by commas; * for every public one."
    )
    repo_mirror: str = Field(
        "",
        description="Folder or base URL in place of the hosts: https://host/u/r is cloned from $REPO_MIRROR/host/u/r.",
    )
    repo_proxy: str = Field("", description="URL of an HTTP proxy for cloning; HTTPS_PROXY is not read.")
    repo_ca_file: Path | None = Field(
        None, description="File of certificates (PEM) to trust when cloning, for hosts with a certificate of your own."
    )
    clone_timeout_seconds: float = Field(600, gt=0, description="Seconds that a clone may take.")
    clone_max_bytes: int = Field(2_000_000_000, gt=0, description="Bytes that a clone may take on disk.")
    repo_max_files: int = Field(200_000, gt=0, description="Files that a repository may have.")
    source_max_bytes: int = Field(
        1_000_000, gt=0, description="Bytes of a source file above which its imports are not read."
    )
    queue_cap: int = Field(10, gt=0, description="Pending jobs at which a further one is refused.")
    job_ttl_seconds: int = Field(86_400, gt=0, description="Seconds that a job may wait before it is skipped.")
    max_attempts: int = Field(3, gt=0, description="Attempts after which a job is failed for good.")
    lease_seconds: float = Field(300, gt=0, description="Seconds that a claim holds without a heartbeat.")
    heartbeat_seconds: float = Field(120, gt=0, description="Seconds between heartbeats; below the lease.")
    poll_interval_seconds: float = Field(2, gt=0, description="Seconds between two looks at an empty queue.")
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="What to train on: auto, cpu or cuda.")
    threads: int = Field(1, gt=0, description="CPU threads of the training; the vectors do not depend on it.")

    @field_validator("allowed_repo_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @field_validator("repo_mirror")
    @classmethod
    def _folder_or_url(cls, value: str) -> str:
        if "://" in value and not value.startswith(("http://", "https://")):
            raise ValueError("must be a folder, or an http or https URL")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def load(cls, **overrides: object) -> Settings:
        """Read the environment; `overrides` win over it.

        Raises:
            SettingsError: Names every setting that is wrong, one a line.
        """
        try:
            settings = cls(**overrides)  # type: ignore[arg-type]  # checked by pydantic, which is its job
        except ValidationError as error:
            lines = [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
            raise SettingsError("wrong settings:\n  " + "\n  ".join(lines)) from None
        if settings.heartbeat_seconds >= settings.lease_seconds:
            raise SettingsError("wrong settings:\n  HEARTBEAT_SECONDS: must be below LEASE_SECONDS")
        return settings


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "settings"
    return "ALEXANDRIA_DATA" if name == "data_dir" else name.upper()
