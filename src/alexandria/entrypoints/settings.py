"""Every setting, in one place: its meaning, default and unit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.repo_url import DEFAULT_HOSTS
from alexandria.domain.transport import is_private_dsn, is_private_url

MIN_TOKEN_LENGTH = 16


class SettingsError(AlexandriaError):
    """One or more settings are wrong; `str()` names every one of them.

    Attributes:
        faults: One sentence each, beginning with the name of the variable.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("wrong settings:\n  " + "\n  ".join(faults))
        self.faults = tuple(faults)


class Mode(StrEnum):
    """Which half of the system this process is."""

    LOCAL = "LOCAL"
    CLOUD = "CLOUD"
    EDGE = "EDGE"


def default_data_dir() -> Path:
    """Return where the embedded store lives unless `ALEXANDRIA_DATA` says otherwise.

    `$XDG_DATA_HOME/alexandria`, else `~/.local/share/alexandria` (XDG Base Directory
    Specification 0.8); `%LOCALAPPDATA%` on Windows.
    """
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", "")
    # The specification says that a relative path is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return root / "alexandria"


def env_file() -> Path | None:
    """Return the file that completes the environment: `.env.cloud` or `.env.edge` here, as `MODE` says, or none."""
    mode = os.environ.get("MODE", "").strip().lower()
    return Path(f".env.{mode}") if mode in {"cloud", "edge"} else None


class Settings(BaseSettings):
    """Settings from the environment, completed by `.env.cloud` or `.env.edge`; names are upper case there.

    An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    mode: Mode = Field(
        Mode.LOCAL,
        description="Which half this process is: LOCAL runs everything on one machine, CLOUD the API, EDGE a worker.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        validation_alias=AliasChoices("ALEXANDRIA_DATA", "data_dir"),
        description="Directory of the embedded store. Made when it is not there.",
    )
    vector_store: str = Field(
        "",
        description="Where vectors are kept: sqlite, qdrant, pgvector, memory, or module:factory of your own. "
        "Empty: sqlite in LOCAL, else qdrant.",
    )

    redis_url: SecretStr = Field(
        SecretStr(""), description="Redis or Valkey for the queue over TCP: rediss://…; redis:// on this machine only."
    )
    upstash_redis_rest_url: str = Field("", description="Upstash Redis for the queue over HTTPS: its REST URL.")
    upstash_redis_rest_token: SecretStr = Field(SecretStr(""), description="The token that belongs to it.")
    qdrant_url: str = Field("", description="Qdrant: https://…; http:// on this machine only.")
    qdrant_api_key: SecretStr = Field(SecretStr(""), description="The key that belongs to it.")
    database_url: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("DATABASE_URL", "NEON_DATABASE_URL", "database_url"),
        description="PostgreSQL for the catalog: postgresql://…?sslmode=require. `NEON_DATABASE_URL` is read as well.",
    )
    store_timeout_seconds: float = Field(10, gt=0, description="Seconds that a remote store may take for one answer.")

    pharos_admin_token: SecretStr = Field(
        SecretStr(""),
        description=f"Bearer token of those who may submit and cancel; at least {MIN_TOKEN_LENGTH} characters.",
    )
    alexandria_read_token: SecretStr = Field(
        SecretStr(""), description="Bearer token of those who may search; empty: everybody may."
    )
    status_cache_seconds: float = Field(
        0, ge=0, description="Seconds for which the API remembers what the workers say (10 in the cloud template)."
    )
    health_cache_seconds: float = Field(60, ge=0, description="Seconds for which the API remembers the stores' health.")
    requests_per_minute: int = Field(600, gt=0, description="Requests that one address may make a minute.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses of proxies, separated by commas, whose X-Forwarded-For is believed; * for any.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins, separated by commas, whose pages may call the API; empty: none."
    )
    # Text, and read where something listens: for other commands a PORT that means something else is no fault.
    port: str = Field("8000", description="Port that the API listens on, from 0 to 65535; platforms set it.")
    api_docs: bool = Field(True, description="Whether the API shows its documentation under /docs.")

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
    presence_seconds: float = Field(
        60, gt=0, description="Seconds between two signs of life of an idle worker; it reads Offline after three."
    )
    poll_interval_seconds: float = Field(2, gt=0, description="Seconds between two looks at an empty queue.")
    poll_idle_max_seconds: float = Field(
        2,
        gt=0,
        description="Seconds to which the looks at a metered queue slow down after a minute without work "
        "(30 in the edge template).",
    )
    worker_id: str = Field("", description="Name of the worker. Empty: host name and process id.")
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="What to train on: auto, cpu or cuda.")
    threads: int = Field(1, gt=0, description="CPU threads of the training; the vectors do not depend on it.")
    training: str = Field(
        "",
        description="What to change of the training, name=value with commas between: epochs=20,seeds=4,p=0.5,"
        "edge_kinds=import+implicit,edge_weights=implicit:0.5.",
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level of what is logged: DEBUG to ERROR."
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|text)$", description="json: one object a line; text; auto: text on a terminal."
    )

    @field_validator("mode", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("allowed_repo_hosts", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        listed = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        if not listed:
            raise ValueError("names nothing: a list separated by commas is needed")
        return listed

    @field_validator("repo_mirror")
    @classmethod
    def _folder_or_url(cls, value: str) -> str:
        if "://" in value and not value.startswith(("http://", "https://")):
            raise ValueError("must be a folder, or an http or https URL")
        return value

    @field_validator("upstash_redis_rest_url", "qdrant_url")
    @classmethod
    def _https(cls, value: str) -> str:
        if value and not is_private_url(value):
            raise ValueError("must begin with https:// (http:// only on this machine): the key would be readable")
        return value

    @field_validator("redis_url")
    @classmethod
    def _rediss(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and not url.startswith("unix://") and not is_private_url(url, scheme="rediss"):
            raise ValueError("must begin with rediss:// (redis:// only on this machine): it carries a password")
        return value

    @field_validator("database_url")
    @classmethod
    def _tls(cls, value: SecretStr) -> SecretStr:
        dsn = value.get_secret_value()
        if dsn and not dsn.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        if dsn and not is_private_dsn(dsn):
            raise ValueError("must carry sslmode=require or stronger (not needed on this machine)")
        return value

    @field_validator("pharos_admin_token", "alexandria_read_token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value()
        if token and (len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token):
            raise ValueError(f"must be {MIN_TOKEN_LENGTH} or more printable ASCII characters without a space")
        return value

    @field_validator("training")
    @classmethod
    def _trainable(cls, value: str) -> str:
        check_training(value)
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def chosen_vector_store(self) -> str:
        """What `vector_store` means: never empty."""
        return self.vector_store or ("sqlite" if self.mode is Mode.LOCAL else "qdrant")

    @classmethod
    def load(cls, **overrides: object) -> Settings:
        """Read the environment; `overrides` win over it.

        Raises:
            SettingsError: Names every setting that is wrong or missing, one a line.
        """
        faults: dict[str, str] = {}
        try:
            settings = _read(cls, overrides)
        except ValidationError as error:
            faults = {_field(fault["loc"]): fault["msg"].removeprefix("Value error, ") for fault in error.errors()}
            if "mode" in faults:
                raise SettingsError(_sentences(faults)) from None
            # Read on with defaults in place of what is wrong, so that what is missing is said in the same breath.
            defaults = {name: cls.model_fields[name].get_default(call_default_factory=True) for name in faults}
            settings = _read(cls, overrides | defaults)
        for name, fault in settings._faults_together():
            faults.setdefault(name, fault)
        if faults:
            raise SettingsError(_sentences(faults))
        return settings

    def _faults_together(self) -> Iterator[tuple[str, str]]:
        """Yield (field, fault) of what only shows when settings are looked at together."""
        if self.heartbeat_seconds >= self.lease_seconds:
            yield "heartbeat_seconds", "must be below LEASE_SECONDS"
        if self.poll_idle_max_seconds < self.poll_interval_seconds:
            yield "poll_idle_max_seconds", "must not be below POLL_INTERVAL_SECONDS"
        if self.upstash_redis_rest_url and not self.upstash_redis_rest_token.get_secret_value():
            yield "upstash_redis_rest_token", "is missing: it belongs to UPSTASH_REDIS_REST_URL"
        if self.upstash_redis_rest_token.get_secret_value() and not self.upstash_redis_rest_url:
            yield "upstash_redis_rest_url", "is missing: it belongs to UPSTASH_REDIS_REST_TOKEN"
        if self.chosen_vector_store == "qdrant" and not self.qdrant_url:
            yield "qdrant_url", "is missing: vectors are kept in Qdrant (VECTOR_STORE chooses another place)"
        if self.mode is Mode.LOCAL:
            if self.chosen_vector_store == "pgvector" and not self.database_url.get_secret_value():
                yield "database_url", "is missing: VECTOR_STORE=pgvector keeps the vectors there"
            return
        if not self.database_url.get_secret_value():
            yield "database_url", f"is missing: MODE={self.mode} keeps the catalog in PostgreSQL"
        if not self.redis_url.get_secret_value() and not self.upstash_redis_rest_url:
            yield "upstash_redis_rest_url", f"is missing: MODE={self.mode} needs a queue, here or at REDIS_URL"
        if self.redis_url.get_secret_value() and self.upstash_redis_rest_url:
            yield "redis_url", "and UPSTASH_REDIS_REST_URL are both set: the queue is in one place"
        if self.mode is Mode.CLOUD and not self.pharos_admin_token.get_secret_value():
            yield "pharos_admin_token", "is missing: without it anybody could submit jobs"


def check_training(*changes: str) -> None:
    """Check what is to be changed of the training, one text after the other.

    Raises:
        ValueError: One of them is none, or they do not go together.
    """
    if any(changes):
        training = import_module("alexandria.adapters.pyg.settings")  # by name: the API has no use for it
        settings = training.Node2VecSettings()
        for change in changes:
            settings = training.changed_by(change, settings)


def variable_of(field: str) -> str:
    """Return the name of the variable that sets `field`."""
    return "ALEXANDRIA_DATA" if field == "data_dir" else field.upper()


def _read(cls: type[Settings], overrides: dict[str, Any]) -> Settings:
    return cls(_env_file=env_file(), **overrides)  # type: ignore[call-arg]  # a parameter that pydantic-settings adds


def _sentences(faults: dict[str, str]) -> list[str]:
    return [f"{variable_of(field)}: {fault}" for field, fault in faults.items()]


def _field(location: tuple[int | str, ...]) -> str:
    """Return the field of an error of pydantic, which names some by their first alias."""
    name = str(location[0])
    return {"ALEXANDRIA_DATA": "data_dir"}.get(name, name.lower())
