"""Settings: names, defaults, and every fault said at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alexandria.domain.repo_url import DEFAULT_HOSTS
from alexandria.entrypoints.settings import Mode, Settings, SettingsError, default_data_dir


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *(field.upper() for field in Settings.model_fields),
        "ALEXANDRIA_DATA",
        "NEON_DATABASE_URL",
        "XDG_DATA_HOME",
    ):
        monkeypatch.delenv(name, raising=False)


def test_without_a_variable_everything_runs_on_this_machine() -> None:
    settings = Settings.load()
    assert settings.mode is Mode.LOCAL
    assert settings.allowed_repo_hosts == DEFAULT_HOSTS
    assert settings.queue_cap == 10
    assert settings.job_ttl_seconds == 86_400
    assert settings.data_dir == default_data_dir()


def test_variables_are_read_under_their_documented_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALEXANDRIA_DATA", str(tmp_path / "store"))
    monkeypatch.setenv("ALLOWED_REPO_HOSTS", "Example.org, git.example.net,")
    monkeypatch.setenv("QUEUE_CAP", "3")
    settings = Settings.load()
    assert settings.data_dir == tmp_path / "store"
    assert settings.allowed_repo_hosts == {"example.org", "git.example.net"}
    assert settings.queue_cap == 3


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "")
    monkeypatch.setenv("QUEUE_CAP", "")
    assert Settings.load().queue_cap == 10


def test_every_wrong_setting_is_named_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "SIDEWAYS")
    monkeypatch.setenv("QUEUE_CAP", "many")
    monkeypatch.setenv("LEASE_SECONDS", "-1")
    monkeypatch.setenv("REPO_MIRROR", "ssh://somewhere")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert all(name in str(caught.value) for name in ("MODE", "QUEUE_CAP", "LEASE_SECONDS", "REPO_MIRROR"))


def test_a_heartbeat_that_is_slower_than_the_lease_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASE_SECONDS", "10")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "10")
    with pytest.raises(SettingsError, match="HEARTBEAT_SECONDS"):
        Settings.load()


@pytest.mark.skipif(sys.platform == "win32", reason="XDG names the directories of Unix")
def test_data_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "alexandria"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert default_data_dir() == Path.home() / ".local" / "share" / "alexandria"


EDGE = {
    "MODE": "EDGE",
    "UPSTASH_REDIS_REST_URL": "https://queue.example.com",
    "UPSTASH_REDIS_REST_TOKEN": "a-token",
    "QDRANT_URL": "https://vectors.example.com:6333",
    "NEON_DATABASE_URL": "postgresql://u:secret@db.example.com/alexandria?sslmode=require",
}


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_edge_needs_queue_catalog_and_vectors_and_says_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "edge")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "QDRANT_URL",
        "DATABASE_URL",
        "UPSTASH_REDIS_REST_URL",
    ]


def test_edge_with_all_of_them_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, EDGE)
    settings = Settings.load()
    assert settings.mode is Mode.EDGE
    assert settings.chosen_vector_store == "qdrant"
    assert settings.database_url.get_secret_value().startswith("postgresql://u:secret@")


def test_cloud_needs_a_token_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, EDGE | {"MODE": "CLOUD"})
    with pytest.raises(SettingsError, match="PHAROS_ADMIN_TOKEN: is missing"):
        Settings.load()
    monkeypatch.setenv("PHAROS_ADMIN_TOKEN", "0123456789abcdef")
    assert Settings.load().mode is Mode.CLOUD


def test_what_is_wrong_and_what_is_missing_are_said_together(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {"MODE": "CLOUD", "QUEUE_CAP": "many", "PHAROS_ADMIN_TOKEN": "short"})
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    named = {fault.partition(":")[0] for fault in caught.value.faults}
    assert named == {"QUEUE_CAP", "PHAROS_ADMIN_TOKEN", "QDRANT_URL", "DATABASE_URL", "UPSTASH_REDIS_REST_URL"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QDRANT_URL", "http://vectors.example.com"),
        ("UPSTASH_REDIS_REST_URL", "http://queue.example.com"),
        ("REDIS_URL", "redis://:secret@queue.example.com"),
        ("DATABASE_URL", "postgresql://u:secret@db.example.com/alexandria"),
        ("DATABASE_URL", "postgresql://u:secret@db.example.com/alexandria?sslmode=prefer"),
        ("DATABASE_URL", "postgresql://u:secret@127.0.0.1/alexandria?host=db.example.com"),
        ("DATABASE_URL", "mysql://u:secret@db.example.com/alexandria?sslmode=require"),
    ],
)
def test_property_12_what_leaves_this_machine_in_the_clear_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as caught:
        Settings.load()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QDRANT_URL", "http://localhost:6333"),
        ("REDIS_URL", "redis://127.0.0.1:6379"),
        ("REDIS_URL", "rediss://:secret@queue.example.com"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("DATABASE_URL", "postgresql://u@[::1]/alexandria"),
        ("DATABASE_URL", "postgresql://u@/alexandria?host=/run/postgresql"),
        ("DATABASE_URL", "postgres://u@db.example.com/alexandria?sslmode=verify-full"),
    ],
)
def test_loopback_sockets_and_encrypted_ways_are_accepted(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    Settings.load()


def test_no_secret_is_shown_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, EDGE | {"MODE": "CLOUD", "PHAROS_ADMIN_TOKEN": "0123456789abcdef", "QDRANT_API_KEY": "a-key"})
    shown = repr(Settings.load())
    assert not any(secret in shown for secret in ("0123456789abcdef", "u:secret", "a-token", "a-key"))


def test_the_file_of_the_mode_completes_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{name}={value}" for name, value in EDGE.items()]
    (tmp_path / ".env.edge").write_text("\n".join([*lines, "QUEUE_CAP=4", "THREADS=2"]))
    assert Settings.load().queue_cap == 10, "without MODE no file is read"
    monkeypatch.setenv("MODE", "EDGE")
    monkeypatch.setenv("THREADS", "3")
    settings = Settings.load()
    assert (settings.queue_cap, settings.threads) == (4, 3), "the environment wins"


def test_a_training_that_cannot_be_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING", "epochs=20,seeds=4")
    assert Settings.load().training == "epochs=20,seeds=4"
    monkeypatch.setenv("TRAINING", "epoch=20")
    with pytest.raises(SettingsError, match=r"TRAINING: 'epoch' is none of walk_length"):
        Settings.load()
