"""The address of a repository, in one canonical form."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath

from alexandria.domain.errors import InvalidRefError, InvalidRepoUrlError

DEFAULT_HOSTS = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
ANY_HOST = "*"
MAX_LENGTH = 2048
MAX_SEGMENTS = 20  # GitLab allows 20 levels of groups
MAX_SEGMENT_LENGTH = 255

# GitLab nests groups; on these hosts a third segment is a page of the web site, not a repository.
_OWNER_AND_NAME_ONLY = frozenset({"github.com", "bitbucket.org", "codeberg.org"})

# Names that stay inside a house: RFC 6761, RFC 8375, RFC 6762, and what ICANN reserves for private use.
_INTERNAL_SUFFIXES = frozenset(
    {"localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "arpa", "test"}
    | {"invalid", "example", "onion", "alt"}
)

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TOP_LABEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}", re.ASCII)  # never a number, so never an IPv4 spelling
_SEGMENT = re.compile(r"~?[A-Za-z0-9._][A-Za-z0-9._-]*", re.ASCII)
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@#-]*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RepoUrl:
    """A repository on a public host, `https://host/owner/name`.

    Make it with `RepoUrl.parse`; a key that was stored before makes it again with `RepoUrl(key)`.
    Two spellings of one address give equal values.

    Attributes:
        key: `host/owner/name`: host in lower case, no `.git`, no trailing slash. Names the
            repository in every store. Any other text raises `InvalidRepoUrlError`.
    """

    key: str

    def __post_init__(self) -> None:
        host, _, path = self.key.partition("/")
        _check_host(host)
        if len(self.url) > MAX_LENGTH:
            raise InvalidRepoUrlError(f"longer than {MAX_LENGTH} characters")
        if "/".join(_checked_segments(host, path)) != path:
            raise InvalidRepoUrlError("the key is not in its canonical form")

    @classmethod
    def parse(cls, text: str, *, allowed_hosts: Collection[str] = DEFAULT_HOSTS) -> RepoUrl:
        """Read `github.com/u/r`, `https://github.com/u/r(.git)` or `git@github.com:u/r.git`.

        Args:
            text: What somebody typed or sent. Spaces around it are dropped.
            allowed_hosts: Host names in lower case that may be named; `*` among them allows every
                public DNS name.

        Raises:
            InvalidRepoUrlError: Another scheme, credentials, a port, an IP literal in any
                spelling, an internal name, a host that is not allowed, `..`, a character that no
                repository has, over 2,048 characters.
        """
        if len(text) > MAX_LENGTH:
            raise InvalidRepoUrlError(f"longer than {MAX_LENGTH} characters")
        text = text.strip(" ")
        if not text:
            raise InvalidRepoUrlError("it is empty")
        if not (text.isascii() and text.isprintable()):
            raise InvalidRepoUrlError("it holds a character that is not printable ASCII")
        host, path = _split(text)
        host = host.lower()
        _check_host(host)
        if host not in allowed_hosts and ANY_HOST not in allowed_hosts:
            raise InvalidRepoUrlError("the host is not among those that are allowed (ALLOWED_REPO_HOSTS)")
        return cls("/".join([host, *_checked_segments(host, path)]))

    @property
    def url(self) -> str:
        """The canonical form, `https://host/owner/name`."""
        return f"https://{self.key}"

    @property
    def host(self) -> str:
        """The host, in lower case."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The last segment."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, order=True)
class LocalRepo:
    """A directory of this machine; only the command line may name one.

    Attributes:
        path: Absolute, without `..` and links resolved, as `Path.resolve` makes it.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_absolute() or ".." in PurePath(self.path).parts:
            raise InvalidRepoUrlError("the path of a local repository must be absolute and resolved")
        if not _is_text(self.path.as_posix()):
            raise InvalidRepoUrlError("the path of a local repository must be valid UTF-8: rename the directory")

    @property
    def key(self) -> str:
        """The absolute path with forward slashes: names the repository in every store."""
        return self.path.as_posix()

    @property
    def url(self) -> str:
        """The same as a `file:` URL, for people and records."""
        return self.path.as_uri()

    @property
    def name(self) -> str:
        """The last segment."""
        return self.path.name or self.key

    def __str__(self) -> str:
        return self.key


Origin = RepoUrl | LocalRepo
"""Where the code of a repository comes from."""


def _is_text(path: str) -> bool:
    """Whether every store can hold `path`: Python spells bytes that are not UTF-8 as lone surrogates."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in path)


def checked_ref(ref: str) -> str:
    """Return `ref` (a branch, tag or commit; empty for the default branch) if git may see it.

    Raises:
        InvalidRefError: It has the shape of an option, a range, a lock file, or characters that
            `git check-ref-format` refuses.
    """
    if not ref:
        return ref
    bad = ("..", "//", "@{", "/.", ".lock/")
    if len(ref) > 255 or not _REF.fullmatch(ref) or any(b in ref for b in bad) or ref.endswith((".lock", "/", ".")):
        raise InvalidRefError
    return ref


def _split(text: str) -> tuple[str, str]:
    """Return (host, path) of one of the three shapes that are accepted."""
    scheme, colon_slashes, rest = text.partition("://")
    if colon_slashes:
        if scheme.lower() != "https":
            raise InvalidRepoUrlError("only https is accepted")
    elif text.startswith("git@"):
        host, colon, path = text[4:].partition(":")
        if not colon:
            raise InvalidRepoUrlError("an address with git@ is written git@host:owner/name.git")
        return host, path
    else:
        rest = text
    host, _, path = rest.partition("/")
    if "@" in host:
        raise InvalidRepoUrlError("credentials in an address are not accepted")
    if ":" in host or "[" in host:
        raise InvalidRepoUrlError("a port, an IP literal or another scheme is not accepted")
    return host, path


def _check_host(host: str) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidRepoUrlError("the host is not a DNS name")
    if len(labels) < 2 or labels[-1] in _INTERNAL_SUFFIXES:
        raise InvalidRepoUrlError("the host is an internal name")
    if not _TOP_LABEL.fullmatch(labels[-1]):
        raise InvalidRepoUrlError("the host is an IP literal")


def _checked_segments(host: str, path: str) -> list[str]:
    segments = path.removesuffix("/").split("/")
    for segment in segments:
        if not segment.strip("."):
            raise InvalidRepoUrlError("it must be host/owner/name, without empty parts and parts of dots")
        if len(segment) > MAX_SEGMENT_LENGTH or not _SEGMENT.fullmatch(segment):
            raise InvalidRepoUrlError("owner and name may hold letters, digits, `.`, `_` and `-` only")
    segments[-1] = segments[-1].removesuffix(".git")
    if not segments[-1].strip("."):
        raise InvalidRepoUrlError("the name of the repository is missing")
    if segments[-1].endswith(".git"):
        raise InvalidRepoUrlError("no repository has a name that ends in `.git`")
    if len(segments) < 2 or len(segments) > MAX_SEGMENTS:
        raise InvalidRepoUrlError("it must be host/owner/name")
    if host in _OWNER_AND_NAME_ONLY and len(segments) != 2:
        raise InvalidRepoUrlError(f"an address on {host} is {host}/owner/name, nothing behind it")
    return segments
