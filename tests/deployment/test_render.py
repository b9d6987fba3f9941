"""`render.yaml` against Render's rules, and against what this program needs.

The rules are those of https://render.com/docs/blueprint-spec (a stored copy, read 2026-11-21), as far as they concern
a web service without Docker, written here as a JSON schema. Render's own schema is at
https://render.com/schema/render.yaml.json; no copy of it could be had here. Where it is at hand,
`RENDER_SCHEMA=FILE make test` holds the file against it as well.
"""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from alexandria.entrypoints.settings import Settings, variable_of
from deployment.test_templates import PLAUSIBLE, entries_of

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINT: dict[str, Any] = yaml.safe_load((ROOT / "render.yaml").read_text())
SERVICE: dict[str, Any] = BLUEPRINT["services"][0]
VARIABLES: dict[str, dict[str, Any]] = {entry["key"]: entry for entry in SERVICE["envVars"]}

_NAME = {"type": "string", "minLength": 1}
_VARIABLE = {
    "type": "object",
    "required": ["key"],
    "additionalProperties": False,
    "properties": {
        "key": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        # A number would be sent as written, but Render's examples quote all that is not a word.
        "value": {"type": "string"},
        "sync": {"const": False},
        "generateValue": {"const": True},
    },
    "oneOf": [{"required": ["value"]}, {"required": ["sync"]}, {"required": ["generateValue"]}],
}
_WEB = {
    "type": "object",
    "required": ["name", "type", "runtime", "buildCommand", "startCommand"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "type": {"const": "web"},
        "runtime": {"enum": ["node", "python", "elixir", "go", "ruby", "rust"]},
        "plan": {"enum": ["free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"]},
        "region": {"enum": ["oregon", "ohio", "virginia", "frankfurt", "singapore"]},
        "branch": _NAME,
        "repo": {"type": "string", "pattern": "^https://"},
        "rootDir": _NAME,
        "autoDeployTrigger": {"enum": ["commit", "checksPass", "off"]},
        "buildCommand": _NAME,
        "preDeployCommand": _NAME,
        "startCommand": _NAME,
        "healthCheckPath": {"type": "string", "pattern": "^/"},
        "maxShutdownDelaySeconds": {"type": "integer", "minimum": 1, "maximum": 300},
        "numInstances": {"type": "integer", "minimum": 1},
        "domains": {"type": "array", "items": _NAME},
        "envVars": {"type": "array", "items": _VARIABLE},
    },
}
RULES = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "properties": {"services": {"type": "array", "minItems": 1, "items": _WEB}},
}


def faults(blueprint: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema_rs.validator_for(RULES).iter_errors(blueprint)]


def changed(**changes: Any) -> dict[str, Any]:
    return {"services": [{**SERVICE, **changes}]}


def test_blueprint_keeps_the_rules() -> None:
    assert faults(BLUEPRINT) == []


@pytest.mark.parametrize(
    "broken",
    [
        changed(runtime="python3"),
        changed(env="python"),
        changed(plan="hobby"),
        changed(healthCheckPath="health/live"),
        changed(autoDeployTrigger="onCommit"),
        changed(envVars=[{"key": "MODE", "value": "CLOUD", "sync": False}]),
        changed(envVars=[{"key": "STATUS_CACHE_SECONDS", "value": 10}]),
        {"services": []},
    ],
)
def test_rules_refuse_what_render_refuses(broken: dict[str, Any]) -> None:
    assert faults(broken) != []


@pytest.mark.skipif("RENDER_SCHEMA" not in os.environ, reason="RENDER_SCHEMA names no copy of Render's own schema")
def test_blueprint_keeps_the_schema_that_render_publishes() -> None:
    schema = json.loads(Path(os.environ["RENDER_SCHEMA"]).read_text())
    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(BLUEPRINT)] == []


def test_what_the_free_plan_has_not_is_not_asked_for() -> None:
    # https://render.com/docs/deploys: pre-deploy commands are for paid services; https://render.com/docs/free: one
    # instance, no disk.
    assert SERVICE["plan"] == "free"
    assert SERVICE.keys() & {"preDeployCommand", "disk", "numInstances", "scaling"} == set()


def test_migrations_are_a_step_before_the_start() -> None:
    steps = [step.strip() for step in SERVICE["buildCommand"].split("&&")]
    assert steps[-1] == "alexandria migrate"
    assert "migrate" not in SERVICE["startCommand"]


def test_only_the_pins_of_the_cloud_are_installed() -> None:
    assert re.findall(r"-r (\S+)", SERVICE["buildCommand"]) == ["requirements-cloud.txt"]
    assert "--no-deps ." in SERVICE["buildCommand"]


def test_api_listens_where_render_looks() -> None:
    # Every interface: inside Render's container the proxy is the only one that comes.
    assert SERVICE["startCommand"] == "alexandria api --host 0.0.0.0 --port $PORT"
    assert SERVICE["healthCheckPath"] == "/health/live"


def test_python_is_one_that_the_project_supports() -> None:
    version = VARIABLES["PYTHON_VERSION"]["value"]
    assert re.fullmatch(r"3\.11\.\d+", version), "the tests run with 3.11; Render wants all three numbers"


def test_variables_are_settings_and_secrets_are_asked_for() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    assert VARIABLES.keys() - known == {"PYTHON_VERSION"}
    secrets = {name for name in PLAUSIBLE if name in VARIABLES}
    assert secrets == {name for name, entry in entries_of("cloud").items() if not (entry.value or entry.shown_only)}
    assert {name for name, entry in VARIABLES.items() if entry.get("sync") is False} == secrets


def test_service_has_all_that_the_cloud_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (variable_of(field) for field in Settings.model_fields):
        monkeypatch.delenv(name, raising=False)
    for name, entry in VARIABLES.items():
        monkeypatch.setenv(name, entry.get("value", PLAUSIBLE.get(name, "")))
    settings = Settings.load()
    assert (settings.mode, settings.status_cache_seconds) == ("CLOUD", 10)


def test_proxies_are_networks_and_not_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", VARIABLES["TRUSTED_PROXIES"]["value"])
    networks = [ip_network(entry) for entry in Settings.load().trusted_proxies]
    assert len(networks) > 20
    assert all(network.prefixlen >= 8 for network in networks)
