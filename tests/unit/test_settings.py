"""Settings: names, defaults, and every fault said at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alexandria.domain.repo_url import DEFAULT_HOSTS
from alexandria.entrypoints.settings import Mode, Settings, SettingsError, default_data_dir


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(field.upper() for field in Settings.model_fields), "ALEXANDRIA_DATA", "XDG_DATA_HOME"):
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
