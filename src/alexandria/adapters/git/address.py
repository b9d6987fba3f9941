"""Where a repository is asked for, and which addresses may be asked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from alexandria.domain.repo_url import DEFAULT_HOSTS, RepoUrl
from alexandria.ports.repo_source import RepoNotFoundError, RepoUnavailableError, RepoUnsafeError

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name, as text; raises `OSError` if it has none."""

HTTPS_PORT = 443
_REPO_PATH = re.compile("(/[!-~]+)/info/refs")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """One address that git may be sent to.

    Attributes:
        url: What git is given.
        protocols: The only transport that git may use for it.
        config: Configuration that goes with it.
        folder: The folder of this machine that it is; None for a host.
    """

    url: str
    protocols: str
    config: Mapping[str, str]
    folder: Path | None = None


def mirror_targets(mirror: str, repo: RepoUrl, config: Mapping[str, str]) -> list[Target]:
    """Return where `repo` may lie in the operator's mirror, to be tried in this order.

    Args:
        mirror: Base URL or folder.
        repo: What is looked for.
        config: Configuration for git.

    Raises:
        RepoNotFoundError: The mirror is a folder that does not hold it.
    """
    scheme = urlsplit(mirror).scheme
    if scheme in {"http", "https"}:
        base = mirror.rstrip("/")
        return [Target(f"{base}/{repo.key}{suffix}", scheme, config) for suffix in ("", ".git")]
    folder = Path(mirror).expanduser().resolve()
    for place in (folder / repo.key, folder / f"{repo.key}.git"):
        if place.is_dir():
            return [Target(place.as_uri(), "file", config, place)]
    raise RepoNotFoundError(f"the mirror of REPO_MIRROR holds no repository {repo.key}")


async def host_targets(repo: RepoUrl, config: Mapping[str, str], *, proxy: str, resolve: Resolver) -> list[Target]:
    """Return where `repo` may lie on its own host, to be tried in this order, with the address pinned.

    The name is resolved once and git is told the result, so a second answer of the DNS has no say.
    Behind a proxy the proxy resolves; what this machine knows of the name is still checked.

    Args:
        repo: What is looked for.
        config: Configuration for git; what the connection needs is added.
        proxy: URL of the proxy, or empty.
        resolve: Finds the addresses of a host.

    Raises:
        RepoUnsafeError: The name leads into a private network.
        RepoUnavailableError: It leads nowhere, and there is no proxy to ask.
    """
    added: dict[str, str] = {}
    try:
        addresses = await resolve(repo.host)
    except OSError as error:
        if not proxy:
            raise RepoUnavailableError(
                f"the name {repo.host} cannot be resolved: check that this machine is online;"
                " behind a firewall, set a proxy or REPO_MIRROR"
            ) from error
    else:
        check_public(repo.host, addresses)
        pinned = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        added["http.curloptResolve"] = f"{repo.host}:{HTTPS_PORT}:{pinned}"
    if proxy:
        added["http.proxy"] = proxy
    # Some hosts know a repository with `.git` only, some without only; the usual ones know both, and
    # GitLab redirects from one to the other.
    suffixes = (".git",) if repo.host in DEFAULT_HOSTS else (".git", "")
    return [Target(repo.url + suffix, "https", {**config, **added}) for suffix in suffixes]


def check_public(host: str, addresses: Sequence[str]) -> None:
    """Check that every address of `host` is one of the public internet.

    Raises:
        RepoUnsafeError: One of them is not, or there is none.
    """
    if not addresses or not all(is_public(address) for address in addresses):
        raise RepoUnsafeError(
            f"{host} leads to an address that is not on the public internet, so it is not asked;"
            " a host of your own network goes into REPO_MIRROR"
        )


def is_public(address: str) -> bool:
    """Whether `address` is a unicast address of the public internet, also by the IPv4 address inside it."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
        if ip.is_site_local or ip.sixtofour is not None or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


async def resolve_name(host: str) -> list[str]:
    """Resolve `host` by the system's resolver; each address once, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def redirected(target: Target, location: str) -> Target:
    """Return `target` at the place on the same host that `location` names.

    Args:
        target: What was asked.
        location: The header of that name in the answer to the first request, which asks for
            `<url>/info/refs?service=git-upload-pack`.

    Raises:
        RepoUnsafeError: It leads to another host, port or scheme, or to no repository.
    """
    asked = urlsplit(target.url)
    try:
        new = urlsplit(urljoin(f"{target.url}/info/refs", location))
    except ValueError as error:
        raise RepoUnsafeError("the host redirects to something that is no address") from error
    if (new.scheme, new.netloc) != (asked.scheme, asked.netloc):
        raise RepoUnsafeError("the host redirects to another host, which is not followed: use the address it leads to")
    path = _REPO_PATH.fullmatch(new.path)
    if path is None or ".." in new.path:
        raise RepoUnsafeError("the host redirects to something that is no repository, for example a page to log in")
    url = new._replace(path=path[1], query="", fragment="").geturl()
    return replace(target, url=url)
