"""One source file's bytes → its facts, whatever the bytes are."""

from __future__ import annotations

import codecs
import functools
import importlib
import re
from collections.abc import Callable

from alexandria.domain.imports.facts import ReadStatus, SourceFacts
from alexandria.domain.language import Language

Reader = Callable[[str, Language, bytes], SourceFacts]

_READERS = {
    Language.PYTHON: "python",
    Language.JAVASCRIPT: "javascript",
    Language.TYPESCRIPT: "javascript",
    Language.JAVA: "java",
    Language.GO: "go",
}
_MOST_NULS = 0.01  # of a text's bytes

# Wide encodings announce themselves by a byte order mark; UTF-32 first, as its mark begins with UTF-16's.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE | re.ASCII)  # PEP 263

# They would decode, by Python's escapes or slowly, but no editor saves source in them.
_NOT_CHARACTER_SETS = {"unicode_escape", "raw_unicode_escape", "punycode", "utf_8"}

_LONG_LINE_BYTES = 1000
_MINIFIED_FROM_BYTES = 4096


def read_source(path: str, language: Language, content: bytes) -> SourceFacts:
    """Return the facts of one file; see `SourceParser.parse` for what its status says."""
    text = as_utf8(content, language)
    if text is None:
        return SourceFacts(path, language, ReadStatus.UNREADABLE)
    # A bundle is JavaScript; the long lines of TypeScript are written by generators of clients, and import.
    if language is Language.JAVASCRIPT and is_minified(text):
        return SourceFacts(path, language, ReadStatus.MINIFIED)
    return _reader(language)(path, language, text)


@functools.cache
def _reader(language: Language) -> Reader:
    # By name, so that a repository loads only the grammars of its own languages: they are megabytes each.
    module = importlib.import_module(f"alexandria.adapters.tree_sitter.{_READERS[language]}")
    reader: Reader = module.read
    return reader


def as_utf8(content: bytes, language: Language) -> bytes | None:
    """Return the text as UTF-8 without a byte order mark, or None if the bytes are no text.

    Bytes that are not UTF-8 are read by Python's coding cookie, else as Latin-1, in which every
    byte is a character: only comments and literals hold such bytes, and their length in lines stays.
    A NUL is a blank where there are few and all else is UTF-8: tests of parsers write it in a literal, as
    the languages allow. Otherwise it makes it no text.
    """
    if content.startswith(codecs.BOM_UTF8):
        content = content[len(codecs.BOM_UTF8) :]
    else:
        for mark, encoding in _WIDE:
            if content.startswith(mark):
                try:
                    content = content.decode(encoding).encode()
                except UnicodeError:
                    return None
                break
    has_nul = b"\0" in content
    try:
        content.decode()
    except UnicodeDecodeError:
        return None if has_nul else _decode_otherwise(content, language).encode("utf-8", "replace")
    if not has_nul:
        return content
    return content.replace(b"\0", b" ") if content.count(b"\0") <= _MOST_NULS * len(content) else None


def _decode_otherwise(content: bytes, language: Language) -> str:
    first_two_lines = b"\n".join(content[:400].splitlines()[:2])
    cookie = _COOKIE.search(first_two_lines) if language is Language.PYTHON else None
    name = cookie[1].decode("ascii").lower().replace("-", "_") if cookie else "latin_1"
    if name in _NOT_CHARACTER_SETS:
        name = "latin_1"
    try:
        return content.decode(name, "replace")
    except (LookupError, UnicodeError):  # unknown, or a codec that is no character set ("hex", "idna")
        return content.decode("latin_1")


def is_minified(text: bytes) -> bool:
    """Whether a file is a generated bundle: more than half of it lies in lines of over 1,000 bytes.

    People wrap long before that, formatters too; and a hand-written file with one long literal has
    most of its bytes elsewhere. Mean line length alone is fooled by a licence header of many lines
    above a bundle of one, and by a table of data below ordinary code.
    """
    if len(text) < _MINIFIED_FROM_BYTES:
        return False
    in_long_lines = sum([len(line) for line in text.split(b"\n") if len(line) > _LONG_LINE_BYTES])
    return 2 * in_long_lines > len(text)
