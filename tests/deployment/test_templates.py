"""The templates of the two halves: every variable in them exists, and a filled one starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from alexandria.entrypoints.settings import Mode, Settings, SettingsError, variable_of

ROOT = Path(__file__).resolve().parents[2]
MODES = ("cloud", "edge")
LOCAL_ONLY = {"ALEXANDRIA_DATA"}  # the one file of LOCAL mode
FIELDS = {variable_of(name): name for name in Settings.model_fields}
PLAUSIBLE = {
    "UPSTASH_REDIS_REST_URL": "https://eu1-quick-fox-12345.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": "AXyzASQgN2QzNDk=",
    "QDRANT_URL": "https://0f1e2d3c.europe-west3-0.gcp.cloud.qdrant.io:6333",
    "QDRANT_API_KEY": "eyJhbGciOi.J9-key_",
    "DATABASE_URL": "postgresql://owner:npg_p%40ss@ep-1-pooler.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
    "PHAROS_ADMIN_TOKEN": "4f9a1c7e5b2d8f6031aa55cc77ee9911",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A variable of a template: what it is set to, whether it is only shown, and what is said of it above."""

    name: str
    value: str
    shown_only: bool
    meaning: str


def entries_of(mode: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    above: list[str] = []
    for line in (ROOT / f".env.{mode}.template").read_text().splitlines():
        variable = re.fullmatch(r"(#?)([A-Z][A-Z0-9_]*)=(.*)", line)
        if variable:
            assert variable[2] not in found, f"{variable[2]} stands twice in .env.{mode}.template"
            found[variable[2]] = Entry(variable[2], variable[3], bool(variable[1]), " ".join(above))
        above = [*above, line.removeprefix("# ")] if re.match(r"# [^-]", line) else []
    return found


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FIELDS, "NEON_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def fill(mode: str) -> str:
    """Return the template with every empty variable set."""
    text = (ROOT / f".env.{mode}.template").read_text()
    for name, value in PLAUSIBLE.items():
        text = text.replace(f"\n{name}=\n", f"\n{name}='{value}'\n")
    return text


@pytest.mark.parametrize("mode", MODES)
def test_template_names_only_settings_that_exist(mode: str) -> None:
    assert entries_of(mode).keys() - FIELDS.keys() == set()


def test_every_setting_stands_in_a_template() -> None:
    named = {name for mode in MODES for name in entries_of(mode)}
    assert FIELDS.keys() - named == LOCAL_ONLY


@pytest.mark.parametrize("mode", MODES)
def test_every_variable_of_a_template_has_a_meaning_above_it(mode: str) -> None:
    assert [name for name, entry in entries_of(mode).items() if len(entry.meaning) < 15] == []


@pytest.mark.parametrize("mode", MODES)
def test_what_a_template_shows_as_a_default_is_the_default(mode: str) -> None:
    for name, entry in entries_of(mode).items():
        default = Settings.model_fields[FIELDS[name]].default
        if isinstance(default, frozenset):
            default = ",".join(sorted(default))
        elif default in (None, ()) or isinstance(default, SecretStr):
            default = ""
        if entry.shown_only:
            assert entry.value == str(default), f"{name} is {default} in the code"
        elif entry.value and name != "MODE":
            assert entry.value != str(default), f"{name} is set to what it is anyway"


def test_templates_set_what_the_free_tiers_need() -> None:
    assert entries_of("edge")["POLL_IDLE_MAX_SECONDS"].value == "30"
    assert entries_of("cloud")["STATUS_CACHE_SECONDS"].value == "10"
    assert entries_of("cloud")["MODE"].value == "CLOUD"
    assert entries_of("edge")["MODE"].value == "EDGE"


@pytest.mark.parametrize("mode", MODES)
def test_template_as_it_is_names_all_that_must_be_filled_in(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE", mode)
    (tmp_path / f".env.{mode}").write_text((ROOT / f".env.{mode}.template").read_text())
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    missing = {fault.partition(":")[0] for fault in caught.value.faults}
    empty = {name for name, entry in entries_of(mode).items() if not entry.shown_only and not entry.value}
    assert missing <= empty, "what is required stands there to be filled in"
    # Each belongs to a URL that is required, and is asked for once that is there.
    assert empty - missing == {"UPSTASH_REDIS_REST_TOKEN", "QDRANT_API_KEY"}


@pytest.mark.parametrize("mode", MODES)
def test_filled_template_loads(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE", mode.upper())
    (tmp_path / f".env.{mode}").write_text(fill(mode))
    settings = Settings.load()
    assert settings.mode is Mode(mode.upper())
    assert settings.database_url.get_secret_value() == PLAUSIBLE["DATABASE_URL"]
    assert settings.qdrant_api_key.get_secret_value() == PLAUSIBLE["QDRANT_API_KEY"]
    assert settings.upstash_redis_rest_token.get_secret_value() == PLAUSIBLE["UPSTASH_REDIS_REST_TOKEN"]


@pytest.mark.parametrize("mode", MODES)
def test_every_default_that_is_shown_can_be_uncommented(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE", mode.upper())
    (tmp_path / f".env.{mode}").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", fill(mode), flags=re.MULTILINE))
    assert Settings.load().queue_cap == 10


def test_both_halves_are_given_the_same_rules_of_the_queue() -> None:
    cloud, edge = entries_of("cloud"), entries_of("edge")
    for name in ("QUEUE_CAP", "JOB_TTL_SECONDS", "MAX_ATTEMPTS", "LEASE_SECONDS", "ALLOWED_REPO_HOSTS"):
        assert cloud[name].value == edge[name].value


def test_filled_copies_are_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", ".env.cloud", ".env.edge"} <= set(ignored)
