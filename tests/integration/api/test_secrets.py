"""No secret is seen: not in a log, a metric, an answer, or a store."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx

from integration.api.running import ADMIN, Cloud, free_port, running_api
from support import postgres, qdrant_rest

PATHS_OF_SECRETS = ("/api/v1/ingestion/ingest/{}", "/{}", "/health?token={}", "/api/v1/search/similar?path={}")


def leaks(secrets: dict[str, str], seen: dict[str, str]) -> list[tuple[str, str]]:
    spelled = {(name, form) for name, text in secrets.items() for form in (text, quote(text, safe=""))}
    return [(name, where) for name, form in spelled for where, text in seen.items() if form in text]


def ask_with_secrets(client: httpx.Client, secrets: dict[str, str]) -> str:
    """Put each secret where a client can put one; return every answer."""
    answers = []
    for secret in secrets.values():
        url = f"https://user:{secret}@github.com/u/r"
        for path in PATHS_OF_SECRETS:
            answers.append(client.get(path.format(quote(secret, safe=""), "x")))
            answers.append(client.post(path.format(quote(url, safe=""), "x")))
        answers.append(client.post("/api/v1/ingestion/jobs", json={"repo_url": url}))
        answers.append(client.post("/api/v1/ingestion/jobs", json={"repo_url": "github.com/u/r", "ref": secret + " "}))
        answers.append(client.post("/api/v1/ingestion/jobs", json={"repo_url": "github.com/u/r", secret: 1}))
        answers.append(client.get("/api/v1/ingestion/jobs/" + quote(secret, safe="")))
        with_headers = ({"Authorization": f"Bearer {secret}"}, {"Cookie": secret}, {"X-Request-ID": secret + "!"})
        answers.extend(client.post("/api/v1/ingestion/jobs", json={}, headers=headers) for headers in with_headers)
    return "\n".join(f"{answer.headers} {answer.text}" for answer in answers)


def test_no_secret_is_in_any_log_metric_error_or_store(cloud: Cloud) -> None:
    sent = {name: f"{name}/s3cr3t+{number:04}?&%" for number, name in enumerate(["in-url", "in-header", "in-body"])}
    known = {
        "admin token": ADMIN["Authorization"].removeprefix("Bearer "),
        "read token": "the-token/of+readers%",
        "upstash token": "an-upstash+token/of-nobody",
        "qdrant key": qdrant_rest.API_KEY,
        "database password": postgres.PASSWORD,
    }
    variables = cloud.variables(ALEXANDRIA_READ_TOKEN=known["read token"], LOG_LEVEL="DEBUG")
    away = {
        "UPSTASH_REDIS_REST_URL": f"http://127.0.0.1:{free_port()}",
        "UPSTASH_REDIS_REST_TOKEN": known["upstash token"],
        "QDRANT_URL": f"http://127.0.0.1:{free_port()}",
        "DATABASE_URL": f"postgresql://u:{quote(postgres.PASSWORD, safe='')}@127.0.0.1:{free_port()}/x",
    }
    seen: dict[str, str] = {}
    # Once with stores that answer, and once with none, whose errors have more to say.
    for name, settings, asked in (
        ("answering", variables, sent),
        ("away", variables | away, {"in-url": sent["in-url"]}),
    ):
        with running_api(cloud.data, settings) as api, api.client(**ADMIN) as client:
            seen[f"answers, {name}"] = ask_with_secrets(client, asked) + client.get("/health").text
            seen[f"metrics, {name}"] = client.get("/metrics").text
            seen[f"documentation, {name}"] = client.get("/docs").text + client.get("/openapi.json").text
            api.stop()
            seen[f"log, {name}"] = api.text_of_log
    seen["queue"] = json.dumps(cloud.loop.run(dump(cloud)), default=str)
    assert "POST" in seen["log, answering"]
    assert "was refused" in seen["log, answering"]
    assert "ConnectError" in seen["log, away"]
    assert leaks(sent | known, seen) == []


async def dump(cloud: Cloud) -> list[object]:
    """Return every key and value of the queue's server."""
    store = cloud.plane.queue._store  # type: ignore[attr-defined]
    keys = await store.command("KEYS", "*")
    return [[key, await read(store, key)] for key in keys]


async def read(store: object, key: str) -> object:
    command = store.command  # type: ignore[attr-defined]
    kind = await command("TYPE", key)
    words: dict[str, list[str | int]] = {"list": ["LRANGE", key, 0, -1], "hash": ["HGETALL", key]}
    return await command(*words.get(kind, ["GET", key]))
