"""`alexandria api` and `alexandria serve`: the API alone, and with a worker beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.transport import is_loopback
from alexandria.entrypoints.api.access import with_admin_token
from alexandria.entrypoints.api.server import listen, serve
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.logs import configure_logs
from alexandria.entrypoints.settings import Mode, Settings, SettingsError

logger = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "alexandria.entrypoints.start", "worker")
WORKER_GRACE_S = 60.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


def run(host: str | None, port: int | None, *, worker: bool) -> int:
    """Serve until a signal comes; return the exit code.

    Args:
        host: Where to listen; None: this machine only in LOCAL, everywhere in CLOUD.
        port: None: what the settings say.
        worker: Whether to run a worker beside it.

    Raises:
        AlexandriaError: It cannot start; the leaf says why.
    """
    settings = Settings.load()
    if settings.mode is Mode.EDGE or (worker and settings.mode is not Mode.LOCAL):
        wanted = "LOCAL" if worker else "CLOUD, or LOCAL,"
        raise SettingsError([f"MODE: must be {wanted} for this command, not {settings.mode}"])
    configure_logs(settings)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it tells of its start and end; so do we
    settings = with_admin_token(settings)
    configure_logs(settings)  # again: now it knows the token that may have been made, and hides it
    host = host or ("127.0.0.1" if settings.mode is Mode.LOCAL else "0.0.0.0")  # noqa: S104  # meant: a container
    listening = listen(host, _port(settings.port) if port is None else port)
    with contextlib.closing(listening):
        return asyncio.run(_run(settings, listening, worker=worker))


def _port(text: str) -> int:
    """Return the port that `text` names.

    Raises:
        SettingsError: It names none.
    """
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65_536):
        raise SettingsError(["PORT: must be a number from 0 to 65535"])
    return int(text)


async def _run(settings: Settings, listening: socket.socket, *, worker: bool) -> int:
    address, port = listening.getsockname()[:2]
    loopback = is_loopback(address)
    async with open_for(settings) as plane, _worker_beside() if worker else contextlib.nullcontext():
        logger.info("serving at http://%s:%d", f"[{address}]" if ":" in address else address, port)
        code = await serve(plane, listening, loopback=loopback)
        logger.info("every request is answered; closing the stores")
        return code


@contextlib.asynccontextmanager
async def _worker_beside(command: Sequence[str] = WORKER) -> AsyncIterator[None]:
    """Keep a worker running as a process of its own: training would make the API slow and heavy."""
    watching = asyncio.create_task(_keep_running(command))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _keep_running(command: Sequence[str]) -> None:
    pause_s = _FIRST_PAUSE_S
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        # In a session of its own, so that Ctrl-C in a terminal reaches us alone, and we stop it in order.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        logger.info("the worker runs as process %d", process.pid)
        try:
            code = await process.wait()
        finally:
            await _stop(process)
        pause_s = _FIRST_PAUSE_S if loop.time() - began > _LONGEST_PAUSE_S else min(pause_s * 2, _LONGEST_PAUSE_S)
        logger.error("the worker ended with %d and is started again in %g s; its job waits until then", code, pause_s)
        await asyncio.sleep(pause_s)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), WORKER_GRACE_S)
    except TimeoutError:
        logger.warning("the worker did not stop within %g s and is killed", WORKER_GRACE_S)
        process.kill()
        await process.wait()


def quick_options(arguments: Sequence[str]) -> tuple[str | None, int | None] | None:
    """Return (host, port) if `arguments` are nothing but well-formed `--host` and `--port`, else None.

    The command line proper, which also explains itself and complains, takes half a second to load.
    """
    host, port = None, None
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        value = value or next(words, "")
        if name == "--host" and value:
            host = value
        elif name == "--port" and value.isascii() and value.isdigit() and int(value[:6]) < 65_536:
            port = int(value)
        else:
            return None
    return host, port


def main(options: tuple[str | None, int | None]) -> int:
    """Run `alexandria api`; say in a line a fault what keeps it from starting."""
    try:
        return run(*options, worker=False)
    except AlexandriaError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
