"""The languages that are read, and how a file's name says which one it is."""

from __future__ import annotations

from enum import StrEnum


class Language(StrEnum):
    """A language whose imports are read; the value is its name in JSON and in every store."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"
    JAVA = "java"
    GO = "go"


EXTENSIONS: dict[str, Language] = {
    ".py": Language.PYTHON,
    ".pyi": Language.PYTHON,
    ".js": Language.JAVASCRIPT,
    ".jsx": Language.JAVASCRIPT,
    ".mjs": Language.JAVASCRIPT,
    ".cjs": Language.JAVASCRIPT,
    ".ts": Language.TYPESCRIPT,
    ".tsx": Language.TYPESCRIPT,
    ".mts": Language.TYPESCRIPT,
    ".cts": Language.TYPESCRIPT,
    ".java": Language.JAVA,
    ".go": Language.GO,
}


def language_of(path: str) -> Language | None:
    """Return the language of a file by its extension (case matters), or None if it is not source."""
    dot = path.rfind(".")
    language = EXTENSIONS.get(path[dot:])
    return None if language is None or path[:dot].endswith("/") or dot == 0 else language
