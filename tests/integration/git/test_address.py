"""Which addresses are asked, and that git asks no others."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.git import GitSource
from alexandria.adapters.git.address import Target, check_public, host_targets, is_public, redirected
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.repo_source import RepoUnavailableError, RepoUnsafeError
from support.git_server import GitServer, make_repository, status

REPO = RepoUrl.parse("github.com/owner/name")
PUBLIC = "140.82.121.3"

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - an address to refuse, nothing is bound
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:8c52:7903::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_of_the_public_internet_are_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(RepoUnsafeError, match="not on the public internet"):
        check_public("host.example.org", [PUBLIC, address])


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:50c0:8000::154", "::ffff:8.8.8.8", "64:ff9b::8c52:7903"])
def test_addresses_of_the_public_internet_are_accepted(address: str) -> None:
    assert is_public(address)
    check_public("host.example.org", [address])


def test_a_name_without_an_address_is_refused() -> None:
    with pytest.raises(RepoUnsafeError):
        check_public("host.example.org", [])


@settings(max_examples=300)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_inside_ipv6(address: ipaddress.IPv4Address) -> None:
    assert is_public(str(address)) == is_public(f"::ffff:{address}")
    assert is_public(str(address)) == is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address))))


@settings(max_examples=300)
@given(st.ip_addresses())
def test_no_private_address_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert not is_public(str(address))


class Answers:
    """A resolver that gives one answer after the other, and knows how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if not self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._answers.pop(0)


async def clone(tmp_path: Path, resolve: Answers, proxy: str = "") -> None:
    source = GitSource(scratch=tmp_path / "scratch", resolve=resolve, proxy=proxy)
    async with source.open(REPO):
        pass


async def test_the_name_is_resolved_once_and_the_answer_pinned() -> None:
    resolve = Answers([PUBLIC, "2606:50c0:8000::154"], ["127.0.0.1"])
    (target,) = await host_targets(REPO, {}, proxy="", resolve=resolve)
    assert resolve.asked == ["github.com"]
    assert target.url == "https://github.com/owner/name.git"
    assert target.protocols == "https"
    assert target.config == {"http.curloptResolve": f"github.com:443:{PUBLIC},[2606:50c0:8000::154]"}


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1"]])
async def test_a_host_that_leads_inside_is_not_asked(tmp_path: Path, addresses: list[str]) -> None:
    with pytest.raises(RepoUnsafeError):
        await clone(tmp_path, Answers(addresses))
    with pytest.raises(RepoUnsafeError):
        await clone(tmp_path, Answers(addresses), proxy="http://127.0.0.1:1")


async def test_a_name_that_cannot_be_resolved_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RepoUnavailableError, match=r"github\.com cannot be resolved: check that"):
        await clone(tmp_path, Answers())


class AimedSource(GitSource):
    """Goes where it is told, without the checks before."""

    def __init__(self, target: Target, scratch: Path) -> None:
        super().__init__(scratch=scratch)
        self._target = target

    async def _targets(self, repo: RepoUrl, scratch: Path) -> list[Target]:
        return [self._target]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    make_repository(tmp_path / "mirror" / REPO.key, {"a.py": b"a"})
    with GitServer(tmp_path / "mirror").running() as running:
        yield running


async def test_git_connects_to_the_pinned_address_and_asks_no_dns(server: GitServer, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    name = "no-such-host.invalid"  # has no address anywhere, by RFC 6761
    pinned = Target(f"http://{name}:{port}/{REPO.key}", "http", {"http.curloptResolve": f"{name}:{port}:127.0.0.1"})
    with pytest.raises(RepoUnavailableError):
        async with AimedSource(Target(pinned.url, "http", {}), tmp_path).open(REPO):
            pass
    assert server.requests == []
    async with AimedSource(pinned, tmp_path).open(REPO) as tree:
        assert dict(tree.read(tree.files)) == {"a.py": b"a"}


@pytest.mark.parametrize("protocols", ["https", "file", "none", "ssh"])
async def test_git_uses_no_transport_but_the_one_it_is_told(server: GitServer, tmp_path: Path, protocols: str) -> None:
    with pytest.raises(RepoUnsafeError, match="transport that is not allowed"):
        async with AimedSource(Target(f"{server.url}/{REPO.key}", protocols, {}), tmp_path).open(REPO):
            pass
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["ext::touch canary", "ssh://127.0.0.1/x", "git://127.0.0.1/x", "fd::0", "ftp://127.0.0.1/x"]
)
async def test_other_transports_are_refused_before_anything_runs(tmp_path: Path, url: str) -> None:
    with pytest.raises(RepoUnsafeError, match="transport that is not allowed"):
        async with AimedSource(Target(url, "https", {}), tmp_path).open(REPO):
            pass


@pytest.mark.parametrize("answers", [[[PUBLIC]], []])
async def test_a_proxy_is_asked_for_the_host_by_name(
    server: GitServer, tmp_path: Path, answers: list[list[str]]
) -> None:
    server.answers["github.com"] = status(502)
    with pytest.raises(RepoUnavailableError) as caught:
        await clone(tmp_path, Answers(*answers), proxy=server.url.replace("//", "//user:s3cret@"))
    assert server.requests
    assert set(server.requests) == {"CONNECT github.com:443"}
    assert "s3cret" not in str(caught.value)


async def test_hosts_that_are_not_well_known_are_tried_with_and_without_the_suffix() -> None:
    repo = RepoUrl.parse("git.example.org/~user/name", allowed_hosts=["*"])
    targets = await host_targets(repo, {}, proxy="", resolve=Answers([PUBLIC]))
    assert [target.url for target in targets] == [f"{repo.url}.git", repo.url]


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://github.com/new/name.git/info/refs?service=git-upload-pack", "https://github.com/new/name.git"),
        ("/new/name.git/info/refs?service=git-upload-pack", "https://github.com/new/name.git"),
        ("https://github.com/repositories/1/info/refs", "https://github.com/repositories/1"),
    ],
)
def test_a_redirect_on_the_same_host_keeps_the_pin(location: str, url: str) -> None:
    target = Target("https://github.com/old/name.git", "https", {"http.curloptResolve": "github.com:443:8.8.8.8"})
    assert redirected(target, location) == Target(url, "https", target.config)


@settings(max_examples=300)
@given(
    st.text(max_size=60)
    | st.from_regex(r"(https?:)?//[a-z.@:0-9\[\]\\]{0,20}/[a-z/.%]{0,20}(/info/refs)?", fullmatch=True)
)
def test_no_redirect_leads_to_another_host(location: str) -> None:
    target = Target("https://github.com/old/name.git", "https", {})
    try:
        new = redirected(target, location)
    except RepoUnsafeError:
        return
    assert new.url.startswith("https://github.com/")
    assert new.url.isprintable()
    assert new.url.isascii()


async def test_the_proxy_of_the_environment_is_not_used(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GitServer(tmp_path).running() as proxy:
        proxy.answers[""] = status(502)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        source = GitSource(scratch=tmp_path / "scratch", mirror=server.url)
        async with source.open(REPO) as tree:
            assert set(tree.files) == {"a.py"}
        assert proxy.requests == []
