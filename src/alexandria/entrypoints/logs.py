"""Logs on stderr: one line an event, JSON for machines or text for a person, and no secret in either.

Modules log with `logging.getLogger(__name__)` and put facts into `extra`; what is true for a while,
such as the job that runs, is bound with `log_context`, which threads of `asyncio.to_thread` inherit.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote, urlsplit

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, WrappedLogger

from alexandria.entrypoints.settings import Settings

HIDDEN = "***"
MAX_TEXT = 10_000
"""Characters of one value in a log; the rest of a longer one is counted instead."""

_SHORTEST_SECRET = 4  # hiding every "a" would hide nothing and spoil every line
_MAX_DEPTH = 5

_WORDS_BEFORE_A_SECRET = (
    # Bearer eyJhb…, also in the dump of a request's headers
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(?!bearer\b)(\w+\s+)?[^\s'\",;]+"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)\b(api-key['\"]?\s*:\s*['\"]?)[^\s'\",;]+"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)((?:api[-_]?key|token|password|passwd|secret)['\"]?\s*=\s*['\"]?)[^\s'\"&,;]+"), rf"\1{HIDDEN}"),
    # scheme://user:password@host
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@'\"]*(?:@[^\s/?#@'\"]*)*@"), rf"\g<1>{HIDDEN}@"),
)
_A_SECRET_MAY_FOLLOW = re.compile(r"(?i)bearer|authorization|api[-_]?key|token|passw|secret|://")
"""Every pattern above needs one of these; most values of most lines hold none, and cost one look."""
_SECRET_NAME = re.compile(r"(?i)password|passwd|secret|authorization|api[-_]?key")

_LOUD = ("httpx", "httpcore", "urllib3", "qdrant_client", "upstash_redis")
"""Loggers of others that tell of every request at INFO."""


def configure_logs(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send everything that is logged, by us and by others, to `stream` as lines; may be called again.

    Args:
        settings: `log_level`, `log_format`, and every secret, none of which will be written.
        stream: Where to; None for stderr.
    """
    stream = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    handler = _LineHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_ABOUT_THE_EVENT, structlog.stdlib.ExtraAdder(), _without_the_message],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                Redaction(secrets_of(settings)),
                _render_json if as_json else _render_text,
            ],
        )
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            *_ABOUT_THE_EVENT,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def log_context(**facts: object) -> AbstractContextManager[None]:
    """Put `facts` into every line that is logged while the block runs, from the threads it starts, too."""
    return structlog.contextvars.bound_contextvars(**facts)


def secrets_of(settings: Settings) -> frozenset[str]:
    """Return every text of `settings` that nobody may read: the secrets, and the passwords inside of URLs."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and "://" in text:
            found.update(_passwords_of(text))
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def _passwords_of(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password
    except ValueError:  # no URL after all; the store that is meant will say so
        return
    if password:
        yield password
        yield unquote(password)


class Redaction:
    """A processor that makes every value of an event plain JSON, without any of the known secrets.

    Hides them in each spelling that a URL, a `repr` or JSON gives them, and what stands where credentials do:
    after `Bearer`, between `://` and `@`, in fields and parameters that are called password, secret, or API key.

    Args:
        secrets: The secrets that are known.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return `event` with every value plain."""
        return {self.text(str(name)): self._field(str(name), value, 0) for name, value in event.items()}

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if _A_SECRET_MAY_FOLLOW.search(text):
            for pattern, instead in _WORDS_BEFORE_A_SECRET:
                text = pattern.sub(instead, text)
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… and {len(text) - MAX_TEXT:,} more characters"

    def _field(self, name: str, value: object, depth: int) -> object:
        return HIDDEN if value and _SECRET_NAME.search(name) else self._plain(value, depth)

    def _plain(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            # Subclasses too: an IntEnum is a number. JSON has no word for a number that is not finite.
            return value if isinstance(value, int) or math.isfinite(value) else str(value)
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            return {self.text(str(name)): self._field(str(name), inner, depth + 1) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
            return [self._plain(inner, depth + 1) for inner in value]
        return self.text(str(value))


def _spellings(secret: str) -> set[str]:
    spelled = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), unquote(secret)}
    spelled |= {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {spelling for spelling in spelled if len(spelling) >= _SHORTEST_SECRET}


class _LineHandler(logging.StreamHandler[TextIO]):
    """Ours, to be told from the handlers of others when the logs are configured again."""


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    moment = datetime.now(UTC) if record is None else datetime.fromtimestamp(record.created, UTC)
    event["time"] = moment.isoformat(timespec="milliseconds")
    return event


def _without_the_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out what another handler's formatter left in the record, and is no `extra`: it says `event` again."""
    event.pop("message", None)
    event.pop("asctime", None)
    return event


_ABOUT_THE_EVENT = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _add_time,
)
_FIRST = ("time", "level", "event")


def _in_order(event: EventDict) -> dict[str, Any]:
    """Return the fields in the order that people read them: when, how grave, what, then the facts by name."""
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return first | dict(sorted(event.items()))


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(_in_order(event), allow_nan=False)  # ASCII only, so it is one line whatever a value holds


def _render_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = _in_order(event)
    head = [str(fields.pop("time", "")), f"{fields.pop('level', '')!s:<7}", str(fields.pop("event", ""))]
    fields.pop("logger", None)  # for machines
    line = "  ".join([*head, *(f"{name}={_as_word(value)}" for name, value in fields.items())])
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _as_word(value: object) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s\"=]", value):
        return value
    return json.dumps(value, ensure_ascii=False)
