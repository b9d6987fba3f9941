"""Over TLS, which the server of these tests does not speak: the end of the wire here does, and hands on."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alexandria.adapters.postgres.faults import AccessDeniedError
from alexandria.ports.catalog import CatalogAccessError
from integration.postgres.proxy import Proxy
from integration.postgres.stores import NAME, ONCE, empty_dsn, open_stores

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")

ASKED_FOR_TLS = bytes.fromhex("0000000804d2162f")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for `localhost` that nobody vouches for but itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem"


@asynccontextmanager
async def way_over_tls(certificate: Path) -> AsyncIterator[Proxy]:
    """Open a way that answers the question for TLS with yes, and speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    made = Proxy()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == ASKED_FOR_TLS
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (OSError, ssl.SSLError):
            writer.transport.abort()
            return
        await made.connected(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "options",
    [
        "sslmode=require",
        "sslmode=require&channel_binding=require",  # as Neon writes it
        "sslmode=verify-full&sslrootcert={certificate}",
        "sslmode=verify-full",
        "sslmode=verify-full&sslrootcert=system",
        "sslmode=verify-ca",
    ],
)
async def test_each_way_to_ask_for_tls(certificate: Path, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # what this machine trusts
    await empty_dsn()
    async with way_over_tls(certificate) as way:
        dsn = way.dsn(NAME).replace("127.0.0.1", "localhost") + f"?{options.format(certificate=certificate)}"
        async with open_stores(dsn, ONCE) as stores:
            await stores.index(1)
            assert await stores.visible() == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["by nobody that is trusted", "for another name"])
async def test_a_certificate_that_proves_nothing_is_refused_before_the_password_is_sent(
    certificate: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host == "127.0.0.1":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with way_over_tls(certificate) as way:
        dsn = f"{way.dsn(NAME).replace('127.0.0.1', host)}?sslmode=verify-full"
        async with open_stores(dsn) as stores:
            with pytest.raises(CatalogAccessError, match="does not trust") as caught:
                await stores.catalog.check()
        assert type(caught.value.__cause__) is AccessDeniedError
        assert way.connections == 0
