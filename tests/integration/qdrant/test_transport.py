"""The transport under Qdrant's client: what servers and gateways may do on a connection."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from alexandria.adapters.qdrant.transport import LineTransport, is_proxied

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Script:
    """A server that answers with what it is given, one piece a request; None closes the connection."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.add(asyncio.current_task())
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                _, _, rest = head.lower().partition(b"content-length: ")
                await reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def speaking_to(
    *answers: bytes | None, kept_s: float = 30.0
) -> AsyncIterator[tuple[Script, httpx.AsyncClient, LineTransport]]:
    script = Script(answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    transport = LineTransport(kept_s)
    async with server, httpx.AsyncClient(transport=transport) as client:
        yield script, client, transport
        await transport.aclose()
        await asyncio.wait([one for one in script.serving if one], timeout=5)


async def test_requests_share_a_connection_and_carry_their_bodies() -> None:
    async with speaking_to(OK, OK, OK) as (script, client, _):
        for body in (b"", b"x", b"y" * 1_000_000):
            answer = await client.post(script.url, content=body)
            assert (answer.status_code, answer.text) == (200, "ok")
    assert script.connections == 1
    assert all(head.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:") for head in script.requests)


async def test_requests_at_once_have_connections_of_their_own() -> None:
    async with speaking_to(*[OK] * 6) as (script, client, _):
        for _ in range(2):
            await asyncio.gather(*(client.get(script.url) for _ in range(3)))
    assert script.connections == 3


async def test_an_answer_in_chunks_and_compressed_is_read() -> None:
    packed = gzip.compress(b"a long text")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:5], packed[5:]))
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with speaking_to(answer, OK) as (script, client, _):
        assert (await client.get(script.url)).text == "a long text"
        assert (await client.get(script.url)).text == "ok"
    assert script.connections == 1


async def test_what_comes_before_the_answer_is_passed_over() -> None:
    async with speaking_to(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK) as (script, client, _):
        assert (await client.get(script.url)).text == "ok"


@pytest.mark.parametrize("wait_s", [0.0, 0.05])
async def test_a_connection_that_the_server_closes_is_not_used_again(wait_s: float) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with speaking_to(closing, closing) as (script, client, _):
        for _ in range(2):
            assert (await client.get(script.url)).text == "ok"
            await asyncio.sleep(wait_s)
    assert script.connections == 2


async def test_a_connection_that_ended_while_it_was_unused_is_noticed() -> None:
    async with speaking_to(OK) as (script, client, _):
        await client.get(script.url)
        await asyncio.sleep(0.05)  # the script is through, so the server closes
        script.answers.append(OK)
        assert (await client.get(script.url)).text == "ok"
    assert script.connections == 2


async def test_a_connection_that_was_unused_for_long_is_not_used_again() -> None:
    async with speaking_to(OK, OK, OK, kept_s=0.0) as (script, client, _):
        for _ in range(2):
            await client.get(script.url)
            await asyncio.sleep(0.01)
    assert script.connections == 2


@pytest.mark.parametrize(
    "answer", [None, b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nok"]
)
async def test_half_an_answer_is_an_error_and_the_next_request_goes_well(answer: bytes | None) -> None:
    async with speaking_to(answer, OK) as (script, client, _):
        with pytest.raises(httpx.TransportError):
            await client.get(script.url)
        assert (await client.get(script.url)).text == "ok"
    assert script.connections == 2


async def test_the_answer_to_a_request_that_was_given_up_is_not_taken_for_the_next_ones() -> None:
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"  # and never its body
    async with speaking_to(slow, OK) as (script, client, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.get(script.url)
        assert (await client.get(script.url)).text == "ok"
    assert script.connections == 2


async def test_a_refusal_of_what_was_not_read_is_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await heard.wait()
        writer.close()
        closed.set()

    heard, closed = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(transport=LineTransport(30.0)) as client:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(httpx.TransportError):  # nobody listens at this one
            await client.get("http://127.0.0.1:1/")
        assert (await client.post(url, content=b"x" * 1000)).status_code == 413
        heard.set()
        await closed.wait()


async def test_nothing_is_left_open_when_it_is_closed() -> None:
    async with speaking_to(OK, OK) as (script, client, transport):
        await client.get(script.url)
        await transport.aclose()
        assert transport._unused == []
        await client.get(script.url)
        assert transport._unused == []
        await asyncio.sleep(0.01)


async def test_a_certificate_that_is_not_trusted_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ssl.SSLContext | None] = []

    async def open_connection(host: str, port: int, **more: object) -> None:
        assert (host, port) == ("example.org", 443)
        tls = more["ssl"]
        assert isinstance(tls, ssl.SSLContext)
        seen.append(tls)
        raise ssl.SSLCertVerificationError("self-signed certificate")

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    async with httpx.AsyncClient(transport=LineTransport(30.0)) as client:
        with pytest.raises(httpx.ConnectError, match="self-signed"):
            await client.get("https://example.org/")
    [tls] = seen
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize(
    ("proxies", "url", "proxied"),
    [
        ({}, "https://q.example:6333", False),
        ({"https": "http://proxy:1"}, "https://q.example:6333", True),
        ({"all": "http://proxy:1"}, "https://q.example:6333", True),
        ({"http": "http://proxy:1"}, "https://q.example:6333", False),
    ],
)
def test_httpx_keeps_its_own_way_through_a_proxy(proxies: dict[str, str], url: str, proxied: bool) -> None:
    named: Callable[[], dict[str, str]] = lambda: proxies  # noqa: E731
    assert is_proxied(url, proxies=named) is proxied


def test_a_host_that_the_environment_excepts_is_not_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", "q.example")
    assert not is_proxied("https://q.example:6333")
    assert is_proxied("https://other.example")
