"""Which addresses may be spoken to: what travels outside this machine is encrypted."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
"""Values of `sslmode` under which libpq never speaks in the clear (PostgreSQL manual, 32.19.1)."""


def is_loopback(host: str | None) -> bool:
    """Whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host is None:
        return False
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_private_url(url: str, *, scheme: str = "https") -> bool:
    """Whether nobody on the way to `url` can read along: it has the encrypted `scheme`, or is this machine itself.

    Raises:
        ValueError: It is no URL.
    """
    parts = urlsplit(url)
    return (parts.scheme == scheme and bool(parts.hostname)) or (
        parts.scheme == scheme.removesuffix("s") and is_loopback(parts.hostname)
    )


def is_private_dsn(dsn: str) -> bool:
    """Whether a PostgreSQL URL asks for TLS, or names this machine (loopback, or the directory of a socket).

    Raises:
        ValueError: It is no URL.
    """
    parts = urlsplit(dsn)
    options = parse_qs(parts.query)
    # Clients differ in which of the two places wins, and try each host of a list: all of them must be near.
    listed = ",".join([parts.netloc.rpartition("@")[2], *options.get("host", [])]).split(",")
    hosts = [_host_of(unquote(spec)) for spec in listed if spec]
    if hosts and all(is_loopback(host) or host.startswith("/") for host in hosts):
        return True
    return options.get("sslmode", [""])[-1] in _TLS_MODES


def _host_of(spec: str) -> str:
    return spec if spec.startswith("/") else urlsplit(f"//{spec}").hostname or ""
