"""JSON as people write it in manifests: with comments, trailing commas and a byte order mark."""

from __future__ import annotations

import json
import re
from typing import Any

# Strings are matched first, so that `//` and `,]` inside them stay. What is not closed reaches to the
# end, so that no text is scanned twice.
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\Z))|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)


def loads(text: str) -> Any:
    """Return the value of `text`, as `json.loads` does for every text that is JSON.

    Raises:
        ValueError: The text is not JSON with comments, or is nested too deeply.
    """
    text = text.removeprefix("\N{BOM}")
    try:
        try:
            return json.loads(text)
        except ValueError:
            without_comments = _COMMENT.sub(lambda m: m[1] or " ", text)
            return json.loads(_TRAILING_COMMA.sub(lambda m: m[1] or "", without_comments))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def load_object(text: str) -> dict[str, Any]:
    """Return the object that `text` holds; empty when it is malformed or holds something else."""
    try:
        value = loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def strings(value: object) -> list[str]:
    """Return the strings of a list, or a lone string as a list; empty for anything else."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
