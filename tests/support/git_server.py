"""Git repositories made for tests, and an HTTP server that serves them through git itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}

Answer = Callable[[BaseHTTPRequestHandler], None]


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git in `folder` and return what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=_ENVIRONMENT, input=stdin, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"git {arguments} failed: {done.stderr.decode('utf-8', 'replace')}")
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_repository(folder: Path, files: Mapping[str, bytes] | None = None) -> Path:
    """Make a work tree at `folder` with one commit of `files` on `main`; none if there are no files."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=", ".")
    if files:
        write_files(folder, files)
        commit_all(folder)
    return folder


def commit_all(folder: Path, message: str = "change") -> str:
    """Commit everything that lies in `folder` as it is; return the hash."""
    git(folder, "add", "--all", "--force", ".")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def commit_objects(folder: Path, entries: list[tuple[str, bytes, str]]) -> str:
    """Commit a tree of any shape, which no work tree could have, on `main`.

    Args:
        folder: A repository.
        entries: (mode, raw name, hash of the object), written as they stand.
    """
    tree = write_tree(folder, entries)
    commit = git(folder, "commit-tree", "-m", "made", tree)
    git(folder, "update-ref", "refs/heads/main", commit)
    return commit


def write_tree(folder: Path, entries: list[tuple[str, bytes, str]]) -> str:
    """Write a tree object byte by byte, so that git checks nothing of it; return its hash."""
    body = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(object_id) for mode, name, object_id in entries)
    return _write_object(folder, b"tree", body)


def write_blob(folder: Path, content: bytes) -> str:
    """Write a blob; return its hash."""
    return _write_object(folder, b"blob", content)


def _write_object(folder: Path, kind: bytes, body: bytes) -> str:
    raw = kind + b" %d\0" % len(body) + body
    object_id = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    path = folder / ".git" / "objects" / object_id[:2] / object_id[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zlib.compress(raw, 1))
    return object_id


class GitServer:
    """Serves the repositories under a folder over HTTP on the loopback, as `git http-backend` does.

    Attributes:
        requests: Method and path of every request, in order.
        answers: What is done instead for paths that begin with the key.
        closing: Set when the server ends; answers that wait, wait for this.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.asked = threading.Event()
        self.closing = threading.Event()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[GitServer]:
        """Serve until the context is left."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: GitServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: in these tests clients are killed on purpose."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_CONNECT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet; `requests` tells."""

    def _answer(self) -> None:
        owner = cast(_Server, self.server).owner
        owner.requests.append(f"{self.command} {self.path}")
        owner.asked.set()
        for prefix, answer in owner.answers.items():
            if self.path.startswith(prefix):
                answer(self)
                return
        self._backend(owner)

    def _backend(self, owner: GitServer) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = _ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(owner.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")]
        status = next((value for name, _, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, _, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def redirect_to(location: Callable[[str], str], status: int = 301) -> Answer:
    """Answer with a redirect to what `location` makes of the path that was asked for."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", location(handler.path))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def status(code: int) -> Answer:
    """Answer with a status and nothing else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        if code == 401:
            handler.send_header("WWW-Authenticate", 'Basic realm="test"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def processes_with(text: str) -> list[int]:
    """Return the ids of living processes whose environment holds `text` (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # ended in between, or another user's
    return [pid for pid in found if pid != os.getpid()]
