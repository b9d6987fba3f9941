"""The frames between the parser and its worker processes.

A frame is its length (4 bytes, little-endian) and then that many bytes of `marshal`: plain tuples,
strings and numbers. Unlike pickle it calls nothing when it is read, so a worker that was taken over by a
hostile file cannot run code in the parent; and both ends are one interpreter, so its version is one.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from typing import Any, Final

from alexandria.domain.imports.facts import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language

HEADER_BYTES: Final = 4

_LANGUAGES = tuple(Language)
_STATUSES = tuple(ReadStatus)
_FORMS = tuple(ImportForm)
_LANGUAGE_CODE = {language: i for i, language in enumerate(_LANGUAGES)}
_STATUS_CODE = {status: i for i, status in enumerate(_STATUSES)}
_FORM_CODE = {form: i for i, form in enumerate(_FORMS)}

Source = tuple[str, Language, bytes]
Packed = tuple[Any, ...]


def frame(message: list[Any]) -> bytes:
    """Return `message` (lists, tuples, str, bytes, int, bool) as one frame."""
    body = marshal.dumps(message)
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def message(body: bytes | memoryview) -> Any:
    """Return the message of a frame, given what stands behind its header."""
    return marshal.loads(body)  # noqa: S302 - from our own process, see above


def frames(buffer: bytearray) -> Iterator[Any]:
    """Take every whole frame off the front of `buffer` and yield its message."""
    start = 0
    while len(buffer) - start >= HEADER_BYTES:
        end = start + HEADER_BYTES + int.from_bytes(buffer[start : start + HEADER_BYTES], "little")
        if len(buffer) < end:
            break
        yield message(memoryview(buffer)[start + HEADER_BYTES : end])
        start = end
    del buffer[:start]


def pack_sources(sources: Sequence[Source]) -> bytes:
    """Return the files of a batch as one frame."""
    return frame([(path, _LANGUAGE_CODE[language], content) for path, language, content in sources])


def unpack_sources(message: list[tuple[str, int, bytes]]) -> Iterator[Source]:
    """Yield what `pack_sources` packed."""
    for path, code, content in message:
        yield path, _LANGUAGES[code], content


def pack_facts(facts: SourceFacts) -> Packed:
    """Return facts as plain values, without what the parent knows already."""
    return (
        _STATUS_CODE[facts.status],
        facts.package,
        facts.declares,
        facts.uses,
        [(i.line, i.specifier, _FORM_CODE[i.form], i.names, i.alias, i.type_only) for i in facts.imports],
    )


def unpack_facts(path: str, language: Language, packed: Packed, shared: dict[str, str]) -> SourceFacts:
    """Return the facts that `pack_facts` packed.

    Args:
        path: The file.
        language: Its language.
        packed: What came over the wire.
        shared: Names seen so far. Files of a repository use the same names again and again, and
            one string for all of them is what keeps ten thousand files small.
    """
    status, package, declares, uses, imports = packed
    share = shared.setdefault
    return SourceFacts(
        path,
        language,
        _STATUSES[status],
        tuple(
            [
                ImportStatement(
                    line, share(specifier, specifier), _FORMS[form], tuple(map(share, names, names)), alias, typed
                )
                for line, specifier, form, names, alias, typed in imports
            ]
        ),
        share(package, package),
        tuple(map(share, declares, declares)),
        tuple(map(share, uses, uses)),
    )
