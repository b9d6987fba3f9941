"""Who asks: the address of a client, also behind proxies, and how much one address may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from alexandria.entrypoints.settings import SettingsError

MAX_ADDRESSES = 10_000
"""Addresses that are remembered; the one that asked least lately is forgotten first."""

_UNKNOWN = "unknown"


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed.

    Args:
        listed: Addresses or networks, `*` for any.

    Raises:
        SettingsError: An entry is neither.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._all = False
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in listed:
            if entry == "*":
                self._all = True
                continue
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                raise SettingsError(["TRUSTED_PROXIES: holds what is no address, network or *"]) from None

    def client_of(self, scope: Scope) -> str:
        """Return the address of the client: the last one that no trusted proxy stands at."""
        peer = str((scope.get("client") or (_UNKNOWN,))[0])
        if not self._believes(peer):
            return peer
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for entry in reversed(forwarded.decode("latin-1").split(",")):
            hop = _address(entry)
            if not hop:
                return peer  # whoever wrote this is no proxy that we know how to read
            peer = hop
            if not self._believes(peer):
                break
        return peer

    def _believes(self, address: str) -> bool:
        if self._all:
            return True
        if not self._networks or not _address(address):
            return False
        return any(ip_address(address) in network for network in self._networks)


class RateLimiter:
    """One token bucket an address; an IPv6 client is its network of 64 bits, of which it has every address.

    Args:
        per_minute: Tokens that come back a minute.
        burst: Tokens of a full bucket.
        addresses: How many buckets are kept.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        per_minute: float,
        burst: float,
        *,
        addresses: int = MAX_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._addresses = addresses
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> float:
        """Take a token; return 0, or the seconds until there is one again."""
        key, now, tokens = self._look(address)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._keep(key, tokens if wait_s else tokens - 1, now)
        return wait_s

    def overdraw(self, address: str) -> None:
        """Take a token, also where there is none: down to as many below zero as a bucket holds."""
        key, now, tokens = self._look(address)
        self._keep(key, max(tokens - 1, -self._burst), now)

    def debt(self, address: str) -> float:
        """Return how many tokens are missing to the first one; 0 if there is one."""
        return max(0.0, 1 - self._look(address)[2])

    def _look(self, address: str) -> tuple[str, float, float]:
        key, now = _bucket_of(address), self._clock()
        tokens, then = self._buckets.get(key, (self._burst, now))
        return key, now, min(self._burst, tokens + (now - then) * self._per_s)

    def _keep(self, key: str, tokens: float, now: float) -> None:
        self._buckets[key] = tokens, now
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._addresses:
            self._buckets.popitem(last=False)


def _address(text: str) -> str:
    """Return the one spelling of an address, or nothing if `text` is none."""
    try:
        return str(ip_address(text.strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        return ""


def _bucket_of(address: str) -> str:
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
