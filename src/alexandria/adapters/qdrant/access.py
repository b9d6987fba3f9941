"""Whether a Qdrant server lets us in, asked over HTTP alone.

The vendor's client takes half a second and 35 MB to load, which an API that was asked for no search has not spent.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import httpx

from alexandria.ports.vector_store import VectorStoreAccessError, VectorStoreUnavailableError

_PORT = 6333
"""Where Qdrant's own client asks when the URL names no port."""


async def check_access(url: str, collection: str, *, api_key: str, timeout_s: float) -> None:
    """Ask for a collection, whether or not it is there.

    Args:
        url: Of the server.
        collection: Its name.
        api_key: Empty for none.
        timeout_s: For the answer as a whole.

    Raises:
        VectorStoreAccessError: The key is refused, or may not read the collection.
        VectorStoreUnavailableError: No answer, or not from Qdrant.
    """
    address = urlsplit(url.rstrip("/"))
    if address.port is None:
        address = address._replace(netloc=f"{address.netloc}:{_PORT}")
    secured = ssl.create_default_context() if address.scheme == "https" else False  # False: nothing to verify
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(verify=secured, timeout=None) as client:  # noqa: S113 (the line's own)
            answer = await client.get(
                f"{address.geturl()}/collections/{collection}", headers={"api-key": api_key} if api_key else {}
            )
    except TimeoutError as error:
        raise VectorStoreUnavailableError(f"Qdrant did not answer within {timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise VectorStoreUnavailableError(f"Qdrant cannot be reached: {error!r:.200}") from error
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise VectorStoreAccessError(
            f"Qdrant does not let us in ({answer.status_code}): check the API key and its rights"
        )
