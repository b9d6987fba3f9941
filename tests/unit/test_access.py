"""Who may, and how often: tokens, the brake on guessing, the limit an address, and whose address it is."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.entrypoints.api.access import FREE_FAILURES, MAX_DELAY_S, Gatekeeper
from alexandria.entrypoints.api.addresses import RateLimiter, TrustedProxies
from alexandria.entrypoints.api.problems import ProblemError
from alexandria.entrypoints.settings import SettingsError

ADMIN = "the-token-of-the-admin"
READ = "the-token-of-readers"
PEER = "198.51.100.7"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that were waited so far; nothing is waited for."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


async def refused(keeper: Gatekeeper, *authorization: str, peer: str = PEER) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await keeper.admit_admin(authorization, peer)
    return caught.value


async def test_twenty_failures_are_free_and_each_further_one_waits_longer(waits: list[float]) -> None:
    keeper = Gatekeeper(ADMIN, "")
    for _ in range(FREE_FAILURES):
        await refused(keeper, "Bearer wrong")
    assert waits == []
    for _ in range(3 * FREE_FAILURES):
        await refused(keeper, "Bearer wrong")
    assert waits == sorted(waits)
    assert len(waits) >= 3 * FREE_FAILURES - 2  # some come back while they are counted
    assert waits[-1] == MAX_DELAY_S


async def test_the_right_token_waits_as_a_wrong_one_does_and_is_not_locked_out(waits: list[float]) -> None:
    keeper = Gatekeeper(ADMIN, "")
    for _ in range(3 * FREE_FAILURES):
        await refused(keeper, "Bearer wrong")
    before = len(waits)
    await keeper.admit_admin([f"Bearer {ADMIN}"], PEER)
    assert len(waits) == before + 1


async def test_another_address_does_not_wait(waits: list[float]) -> None:
    keeper = Gatekeeper(ADMIN, "")
    for _ in range(3 * FREE_FAILURES):
        await refused(keeper, "Bearer wrong")
    before = len(waits)
    await refused(keeper, "Bearer wrong", peer="198.51.100.8")
    assert len(waits) == before


@pytest.mark.parametrize("sent", [[], [""], ["Basic x"], [ADMIN], [f"Bearer {ADMIN}"] * 2, [f"Bearer {ADMIN}x"]])
async def test_every_kind_of_failure_counts_against_the_address(waits: list[float], sent: Sequence[str]) -> None:
    keeper = Gatekeeper(ADMIN, "")
    for _ in range(FREE_FAILURES + 3):
        await refused(keeper, *sent)
    assert waits


async def test_every_token_is_compared_in_constant_time_also_after_one_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac_compare(a, b)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    keeper = Gatekeeper(ADMIN, READ)
    for token in (READ, ADMIN):
        compared.clear()
        await keeper.admit_reader([f"Bearer {token}"], PEER)
        assert {b for _, b in compared} == {READ.encode(), ADMIN.encode()}


async def test_without_an_admin_token_nobody_may_submit() -> None:
    for token in ("", "x", "None"):
        await refused(Gatekeeper("", ""), f"Bearer {token}")


async def test_a_reader_may_read_and_not_submit() -> None:
    keeper = Gatekeeper(ADMIN, READ)
    await keeper.admit_reader([f"Bearer {READ}"], PEER)
    await refused(keeper, f"Bearer {READ}")
    with pytest.raises(ProblemError):
        await keeper.admit_reader([], PEER)
    await asyncio.gather(*(Gatekeeper(ADMIN, "").admit_reader([], PEER) for _ in range(50)))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_taken_at_once_and_comes_back_by_the_minute() -> None:
    clock = Clock()
    limiter = RateLimiter(60, 3, clock=clock)
    assert [limiter.take(PEER) for _ in range(4)] == [0, 0, 0, 1.0]
    clock.now += 0.75
    assert limiter.take(PEER) == pytest.approx(0.25)
    clock.now += 0.25
    assert [limiter.take(PEER), limiter.take(PEER)] == [0, 1.0]
    clock.now += 3600
    assert [limiter.take(PEER) for _ in range(4)] == [0, 0, 0, 1.0]


def test_debt_grows_with_overdrafts_no_further_than_a_bucket_and_is_forgiven() -> None:
    clock = Clock()
    limiter = RateLimiter(60, 3, clock=clock)
    for _ in range(3):
        assert limiter.debt(PEER) == 0
        limiter.overdraw(PEER)
    owed = []
    for _ in range(6):
        owed.append(limiter.debt(PEER))
        limiter.overdraw(PEER)
    assert owed == [1, 2, 3, 4, 4, 4]
    clock.now += 4
    assert limiter.debt(PEER) == 0


def test_an_ipv6_client_is_its_network() -> None:
    limiter = RateLimiter(60, 2, clock=Clock())
    assert [limiter.take(f"2001:db8:0:1::{n:x}") for n in range(3)] == [0, 0, 1.0]
    assert limiter.take("2001:db8:0:2::1") == 0


def test_as_many_addresses_are_remembered_as_may_be_and_the_oldest_goes_first() -> None:
    limiter = RateLimiter(60, 1, addresses=100, clock=Clock())
    for n in range(1000):
        limiter.take(f"10.0.{n // 250}.{n % 250}")
        assert len(limiter) <= 100
    assert limiter.take("10.0.3.249") > 0
    assert limiter.take("10.0.0.0") == 0


def client_of(trusted: Sequence[str], peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"type": "http", "client": None if peer is None else (peer, 1234), "headers": headers}
    return TrustedProxies(trusted).client_of(scope)


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ([], "10.0.0.1", ["1.2.3.4"], "10.0.0.1"),  # nobody is believed
        (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # the client wrote the first one itself
        (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4, 10.0.0.2"], "1.2.3.4"),  # a chain of proxies
        (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4", "10.0.0.2"], "1.2.3.4"),  # in two headers
        (["10.0.0.0/8"], "9.9.9.9", ["1.2.3.4"], "9.9.9.9"),
        (["10.0.0.1"], "10.0.0.1", ["1.2.3.4, what"], "10.0.0.1"),  # no address
        (["10.0.0.1"], "10.0.0.1", ["1.2.3.4, "], "10.0.0.1"),
        (["10.0.0.1"], "10.0.0.1", ["[2001:DB8::1]"], "2001:db8::1"),
        (["::1"], "::1", ["1.2.3.4"], "1.2.3.4"),
        (["*"], "10.0.0.1", ["6.6.6.6, 1.2.3.4"], "6.6.6.6"),
        (["10.0.0.1"], None, ["1.2.3.4"], "unknown"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_stands_at(
    trusted: list[str], peer: str | None, forwarded: list[str], client: str
) -> None:
    assert client_of(trusted, peer, *forwarded) == client


@given(forwarded=st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=3))
def test_whatever_stands_in_the_header_a_stranger_is_its_own_address(forwarded: list[str]) -> None:
    assert client_of(["10.0.0.0/8"], "203.0.113.9", *forwarded) == "203.0.113.9"


@pytest.mark.parametrize("entry", ["me", "10.0.0.0/33", "10.0.0.1:80", "https://x"])
def test_a_proxy_that_is_no_address_is_a_fault_of_the_settings(entry: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        TrustedProxies([entry])
