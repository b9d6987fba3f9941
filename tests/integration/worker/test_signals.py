"""Signals, and the word to the service manager."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from alexandria.entrypoints.systemd import ServiceManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and Unix sockets")

PROGRAM = """
import asyncio
from alexandria.entrypoints.worker import Stopping

async def main():
    stopping = Stopping()
    with stopping.listening():
        print("listens", flush=True)
        await stopping.event.wait()
        print("told", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_a_wish_and_the_second_ends_the_process(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "listens\n"
        program.send_signal(number)
        assert program.stdout.readline() == "told\n"
        assert program.poll() is None
        program.send_signal(number)
        assert program.wait(60) == -number


@pytest.fixture
def manager_socket(tmp_path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.setblocking(False)
    return listening


async def test_the_manager_hears_of_the_start_of_life_and_of_the_end(
    manager_socket: socket.socket, tmp_path: Path
) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"})
    loop = asyncio.get_running_loop()
    with manager_socket:
        manager.say("READY=1", "STATUS=waits")
        assert await loop.sock_recv(manager_socket, 100) == b"READY=1\nSTATUS=waits"
        async with manager.watchdog():
            for _ in range(3):
                assert await loop.sock_recv(manager_socket, 100) == b"WATCHDOG=1"
        while True:  # what was sent before the block was left
            try:
                assert manager_socket.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
        manager.say("STOPPING=1")
        assert await loop.sock_recv(manager_socket, 100) == b"STOPPING=1"


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}], ids=str)
async def test_no_life_is_shown_that_was_not_asked_for(
    manager_socket: socket.socket, tmp_path: Path, more: dict[str, str]
) -> None:
    with manager_socket:
        async with ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}).watchdog():
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            manager_socket.recv(100)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux")
def test_an_abstract_name_is_understood(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{tmp_path}")
        ServiceManager({"NOTIFY_SOCKET": f"@{tmp_path}"}).say("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_a_manager_that_does_not_listen_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).say("READY=1")
    assert "could not be told READY=1" in caplog.text
    ServiceManager({}).say("READY=1")
