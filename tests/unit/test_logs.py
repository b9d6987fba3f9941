"""Logs: one line an event, whatever it holds; the job in each; no secret in any."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import assume, example, given
from hypothesis import strategies as st

from alexandria.entrypoints import logs
from alexandria.entrypoints.logs import MAX_TEXT, Redaction, configure_logs, log_context, secrets_of
from alexandria.entrypoints.settings import Settings

SECRETS = {
    "upstash_redis_rest_url": "https://eu1.upstash.io",
    "upstash_redis_rest_token": "AXsecretUPSTASHtoken==",
    "qdrant_api_key": "qdrant-k3y/with+signs",
    "database_url": "postgresql://alex:p%40ss-wört@db.neon.tech/alexandria?sslmode=require",
    "pharos_admin_token": "admin-token-0123456789",
    "repo_proxy": "http://someone:proxy-pass@proxy.example:3128",
}
logger = logging.getLogger("alexandria.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def stream_of(**settings: str) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(Settings.load(**settings), stream=stream)
    return stream


def log_failure(reason: str) -> None:
    try:
        raise_it(reason)
    except ValueError:
        logger.exception("it failed: %s", reason)


def raise_it(reason: str) -> None:
    raise ValueError(reason)


def events_in(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_time_level_and_facts() -> None:
    stream = stream_of()
    logger.warning("%d files", 3, extra={"files": 3, "loss": float("nan"), "path": b"x"})
    [event] = events_in(stream)
    moment = datetime.fromisoformat(event.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert event == {
        "level": "warning",
        "event": "3 files",
        "logger": "alexandria.test",
        "files": 3,
        "loss": "nan",
        "path": "b'x'",
    }


def test_both_kinds_of_logger_write_the_same_lines() -> None:
    stream = stream_of()
    with log_context(job_id="a"):
        logger.info("seen", extra={"files": 3})
        structlog.get_logger("alexandria.test").info("seen", files=3)
    first, second = events_in(stream)
    assert first.pop("time") <= second.pop("time")
    assert first == second


async def test_what_is_bound_is_in_lines_of_threads_and_tasks_and_gone_after() -> None:
    stream = stream_of()
    with log_context(job_id="a", attempt=1):
        await asyncio.to_thread(logger.info, "in a thread")
        await asyncio.create_task(asyncio.to_thread(logger.info, "in a task"))
    logger.info("after")
    assert [event.get("job_id") for event in events_in(stream)] == ["a", "a", None]


def test_an_error_carries_its_trace_in_the_same_line() -> None:
    stream = stream_of()
    log_failure("two\nlines")
    [event] = events_in(stream)
    assert event["exception"].startswith("Traceback")
    assert "two\nlines" in event["exception"]


def test_text_is_for_people_and_json_for_a_pipe() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logs(Settings.load(), stream=terminal)
    logger.info("job complete", extra={"files": 3, "repo": "a b"})
    assert terminal.getvalue().endswith('info     job complete  files=3  repo="a b"\n')
    assert "{" not in terminal.getvalue()
    configure_logs(Settings.load(log_format="json"), stream=terminal)
    logger.info("again")
    assert json.loads(terminal.getvalue().splitlines()[-1])["event"] == "again"


def test_the_level_is_kept_and_other_libraries_are_quiet() -> None:
    stream = stream_of(log_level="WARNING")
    logger.info("no")
    logging.getLogger("httpx").info("HTTP Request: POST https://eu1.upstash.io")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning of Python", stacklevel=1)
    assert [event["level"] for event in events_in(stream)] == ["warning"]


def test_configuring_twice_writes_each_line_once() -> None:
    stream_of()
    stream = stream_of()
    logger.info("once")
    assert len(events_in(stream)) == 1


@given(text=st.text(st.characters(codec=None)), name=st.text(min_size=1))
@example(text='\x1b[2J\r\n\u2028\u0085{"event": "forged"}', name="path")
@example(text="\udcff", name="\udcff")
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_whatever_is_logged_is_one_line_of_plain_characters(log_format: str, text: str, name: str) -> None:
    stream = stream_of(log_format=log_format)
    structlog.get_logger("x").info(text, **{f"x_{name}": text, "deep": [{"a": (text,)}]})
    logger.error("%s", text)
    written = stream.getvalue()
    assert written.endswith("\n")
    lines = written[:-1].split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    if log_format == "json":
        assert [type(json.loads(line)["event"]) for line in lines] == [str, str]


def test_a_long_value_is_cut() -> None:
    stream = stream_of()
    logger.info("%s", "x" * (MAX_TEXT + 1000))
    assert events_in(stream)[0]["event"] == "x" * MAX_TEXT + "… and 1,000 more characters"


@given(st.sampled_from(sorted(SECRETS)), st.text(max_size=5), st.text(max_size=5))
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_setting_that_is_secret_is_ever_written(log_format: str, name: str, before: str, after: str) -> None:
    settings = Settings.load(log_format=log_format, **SECRETS)
    secret = next(iter(s for s in secrets_of(settings) if s in SECRETS[name]), SECRETS["repo_proxy"][15:25])
    stream = io.StringIO()
    configure_logs(settings, stream=stream)
    said = before + secret + after
    logger.error("refused: %s", said, extra={"url": quote(said), "facts": {"deep": [repr(said)], said: 1}})
    log_failure(said)
    written = stream.getvalue()
    assert secret not in written
    assert quote(secret) not in written
    assert json.dumps(secret)[1:-1] not in written


def test_the_secrets_are_known_in_url_and_in_plain_spelling() -> None:
    known = secrets_of(Settings.load(**SECRETS))
    assert {"p%40ss-wört", "p@ss-wört", "proxy-pass", "admin-token-0123456789"} <= known
    assert "https://eu1.upstash.io" not in known


@given(st.text(st.characters(codec="utf-8"), min_size=4, max_size=30))
def test_a_secret_is_hidden_in_each_spelling(secret: str) -> None:
    assume(secret not in {"*" * n for n in range(31)})
    hide = Redaction([secret]).text
    for spelled in (secret, repr(secret), json.dumps(secret), quote(secret, safe=""), quote(secret)):
        assert secret not in hide(f"<{spelled}>") or secret in "<***>"


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Authorization: Bearer abc.DEF-123456", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': '***'}"),
        ("headers {'api-key': 'k1'}", "headers {'api-key': '***'}"),
        ("GET /x?token=abc&k=1", "GET /x?token=***&k=1"),
        ("REST_TOKEN=abc", "REST_TOKEN=***"),
        ("clone https://me:pa55@host.example/u/r.git failed", "clone https://***@host.example/u/r.git failed"),
        ("redis://:pw@127.0.0.1:6379", "redis://***@127.0.0.1:6379"),
        ("git@github.com:u/r", "git@github.com:u/r"),
        ("https://github.com/u/r@v1", "https://github.com/u/r@v1"),
        ("PHAROS_ADMIN_TOKEN: is missing", "PHAROS_ADMIN_TOKEN: is missing"),
        ("set a bearer token", "set a bearer token"),
    ],
)
def test_what_stands_where_credentials_do_is_hidden(said: str, written: str) -> None:
    assert Redaction([]).text(said) == written


@given(text=st.text())
@example(text="Bearer abcdefgh")
@example(text="x-API-KEY: k")
@example(text="ſecret=long s")
def test_the_quick_look_misses_nothing_that_the_patterns_find(text: str) -> None:
    for words in ("", "bearer 12345678", "Authorization: x", "api_key=x", "passwd=y", "TOKEN = z", "ssh://a@b"):
        said = f"{text}{words}{text}"
        hidden = said
        for pattern, instead in logs._WORDS_BEFORE_A_SECRET:
            hidden = pattern.sub(instead, hidden)
        assert Redaction([]).text(said) == hidden


def test_fields_with_the_name_of_a_secret_are_hidden() -> None:
    stream = stream_of()
    logger.info("x", extra={"password": "a", "headers": {"Authorization": "b"}, "token": 7})
    [event] = events_in(stream)
    assert (event["password"], event["headers"], event["token"]) == ("***", {"Authorization": "***"}, 7)
