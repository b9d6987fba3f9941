"""Hosts and repositories that attack whoever clones them, over a real HTTP connection."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from alexandria.adapters.git import GitSource, SourceLimits
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoSourceError,
    RepoUnavailableError,
    RepoUnsafeError,
)
from support.git_server import (
    Answer,
    GitServer,
    commit_all,
    commit_objects,
    git,
    make_repository,
    processes_with,
    redirect_to,
    status,
    write_blob,
    write_files,
    write_tree,
)

REPO = RepoUrl.parse("github.com/owner/name")
MOVED = f"/{REPO.key}/info/refs"


@dataclass
class Host:
    """A host with one repository.

    Attributes:
        folder: Its work tree, with one file.
        server: Serves it.
        scratch: Where clones go; it is empty after every test.
        canary: What a command of the attacker would make.
    """

    folder: Path
    server: GitServer
    scratch: Path
    canary: Path

    async def clone(
        self, ref: str = "", mirror: str = "", repo: RepoUrl = REPO, **limits: Any
    ) -> dict[str, bytes | None]:
        """Clone and read everything."""
        source = GitSource(mirror=mirror or self.server.url, scratch=self.scratch, limits=SourceLimits(**limits))
        async with source.open(repo, ref=ref) as tree:
            return dict(tree.read(tree.files))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    mirror = tmp_path / "mirror"
    folder = make_repository(mirror / REPO.key, {"a.py": b"a"})
    with GitServer(mirror).running() as server:
        opened = Host(folder, server, tmp_path / "scratch", tmp_path / "canary")
        yield opened
    assert not opened.canary.exists()
    assert list(opened.scratch.glob("*")) == []
    assert processes_with(str(opened.scratch)) == []


@pytest.fixture
def other(tmp_path: Path) -> Iterator[GitServer]:
    """Another host, which must never be asked."""
    make_repository(tmp_path / "other" / REPO.key, {"other.py": b"o"})
    with GitServer(tmp_path / "other").running() as server:
        yield server
    assert server.requests == []


# Redirects


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirect_to_another_place_on_the_same_host_is_followed(host: Host, code: int) -> None:
    """As GitHub answers for a repository that was renamed."""
    renamed = RepoUrl.parse("github.com/owner/old")
    host.server.answers["/github.com/owner/old"] = redirect_to(lambda path: path.replace("/old", "/name"), code)
    assert await host.clone(repo=renamed) == {"a.py": b"a"}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_host_is_not_followed(host: Host, other: GitServer, code: int) -> None:
    host.server.answers[MOVED] = redirect_to(lambda path: other.url + path, code)
    with pytest.raises(RepoUnsafeError, match="another host"):
        await host.clone()


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/info/refs",
        "https://127.0.0.1/x/info/refs",
        "//127.0.0.1:1/x/info/refs",
        "file:///etc/info/refs",
        "ext::touch canary/info/refs",
        "ftp://127.0.0.1/info/refs",
        "http://user@127.0.0.1:1/info/refs",
        "/login",
        "/\x1b[31m/info/refs",
    ],
)
async def test_a_redirect_to_anything_else_is_refused_in_one_line(host: Host, location: str) -> None:
    host.server.answers[MOVED] = redirect_to(lambda _: location)
    with pytest.raises(RepoUnsafeError) as caught:
        await host.clone()
    assert str(caught.value).isprintable()


async def test_a_redirect_after_the_first_answer_is_not_followed(host: Host, other: GitServer) -> None:
    host.server.answers[f"/{REPO.key}/git-upload-pack"] = redirect_to(lambda path: other.url + path, 307)
    with pytest.raises(RepoUnsafeError):
        await host.clone()


async def test_a_redirect_without_end_is_given_up(host: Host) -> None:
    host.server.answers["/github.com"] = redirect_to(lambda path: path.replace("/owner", "/owner/o"))
    with pytest.raises(RepoUnsafeError, match="again and again"):
        await host.clone()
    assert len(host.server.requests) <= 10


async def test_a_redirect_without_a_place_is_unavailable(host: Host) -> None:
    host.server.answers[MOVED] = status(301)
    with pytest.raises(RepoUnavailableError, match="without saying where"):
        await host.clone()


# Answers


@pytest.mark.parametrize("code", [401, 404, 410])
async def test_what_the_host_does_not_show_is_not_found(host: Host, code: int) -> None:
    host.server.answers["/"] = status(code)
    with pytest.raises(RepoNotFoundError, match="does not exist, or needs a password"):
        await host.clone()


@pytest.mark.parametrize("code", [403, 429, 500, 502, 503, 504])
async def test_a_host_that_refuses_is_unavailable(host: Host, code: int) -> None:
    host.server.answers["/"] = status(code)
    with pytest.raises(RepoUnavailableError, match="try again later"):
        await host.clone()


async def test_a_host_that_is_not_there_is_unavailable(host: Host) -> None:
    with pytest.raises(RepoUnavailableError, match="git says: fatal: unable to access"):
        await host.clone(mirror="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "body", [b"", b"<html>log in</html>", b"\0" * 1000, b"0000", b"ffff" * 99, b"001e# service=git-upload-pack\n"]
)
async def test_an_answer_that_is_no_repository_is_unavailable_in_one_line(host: Host, body: bytes) -> None:
    host.server.answers["/"] = fixed(body)
    with pytest.raises(RepoSourceError) as caught:
        await host.clone()
    assert str(caught.value).isprintable()


async def test_a_web_site_is_no_repository(host: Host) -> None:
    host.server.answers["/"] = fixed(b"<html>\n<body>Welcome</body>\n</html>\n", "text/html")
    with pytest.raises(RepoNotFoundError, match="no git repository at"):
        await host.clone()


async def test_a_host_without_the_protocol_cannot_lead_to_another_one(host: Host, other: GitServer) -> None:
    """Git's oldest way asks the host for files, and one of them names more hosts."""
    commit = git(host.folder, "rev-parse", "HEAD")
    host.server.answers[MOVED] = fixed(f"{commit}\trefs/heads/main\n".encode(), "text/plain")
    host.server.answers[f"/{REPO.key}/HEAD"] = fixed(b"ref: refs/heads/main\n", "text/plain")
    for name in ("alternates", "http-alternates"):
        elsewhere = f"{other.url}/{REPO.key}/.git/objects\n".encode()
        host.server.answers[f"/{REPO.key}/objects/info/{name}"] = fixed(elsewhere, "text/plain")
    with pytest.raises(RepoNotFoundError):
        await host.clone()
    with pytest.raises(RepoNotFoundError):
        await host.clone(ref=commit)


async def test_text_of_the_host_stays_one_line_in_the_error(host: Host) -> None:
    host.server.answers["/"] = fixed(
        service(pkt(b"ERR \x1b[31mred\r\nERROR: fake log line\n\xe2\x80\xae" + b"x" * 5000))
    )
    with pytest.raises(RepoSourceError) as caught:
        await host.clone()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_the_credentials_of_the_mirror_are_in_no_error(host: Host) -> None:
    for mirror in ("http://user:s3cret@127.0.0.1:1", host.server.url.replace("//", "//user:s3cret@")):
        with pytest.raises(RepoSourceError) as caught:
            await host.clone(mirror=mirror, repo=RepoUrl.parse("github.com/owner/missing"))
        assert "s3cret" not in str(caught.value)


# Never ending


async def test_a_host_that_says_nothing_is_given_up(host: Host) -> None:
    host.server.answers["/"] = hang(host.server)
    with pytest.raises(RepoUnavailableError, match="sent nothing"):
        await host.clone(stall_timeout_s=0.5)


async def test_a_host_that_drips_is_given_up(host: Host) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        while not host.server.closing.wait(0.1):
            handler.wfile.write(b"0")

    host.server.answers["/"] = drip
    with pytest.raises(RepoUnavailableError, match="sent nothing"):
        await host.clone(stall_timeout_s=1)


async def test_the_deadline_ends_a_clone_that_goes_on(host: Host) -> None:
    host.server.answers["/"] = hang(host.server)
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(clone_timeout_s=0.5)
    assert caught.value.limit == "clone_timeout_s"


async def test_an_endless_list_of_refs_is_ended(host: Host) -> None:
    refs = b"".join(pkt(b"%040x refs/heads/%d\n" % (number, number)) for number in range(1, 2000))

    def endless(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        handler.wfile.write(service(pkt(b"%040x HEAD\0side-band-64k shallow\n" % 1))[:-4])
        while not host.server.closing.is_set():
            handler.wfile.write(refs)

    host.server.answers["/"] = endless
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(memory_bytes=192 * 1024 * 1024, clone_timeout_s=60)
    assert caught.value.limit == "memory_bytes"


async def test_an_endless_pack_is_ended_by_the_limit_on_disk(host: Host) -> None:
    def pack_without_end(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(pkt(b"\x01" + HUGE_BLOB))
        block = pkt(b"\x01" + b"\0" + struct.pack("<HH", 65000, 65000 ^ 0xFFFF) + os.urandom(65000))
        while not host.server.closing.is_set():
            handler.wfile.write(block)

    sends_pack(host, pack_without_end)
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(clone_bytes=5_000_000, clone_timeout_s=60)
    assert caught.value.limit == "clone_bytes"


async def test_endless_headers_are_ended(host: Host) -> None:
    def headers(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not host.server.closing.is_set():
            handler.wfile.write(b"X: " + b"x" * 1000 + b"\r\n")

    host.server.answers["/"] = headers
    # By curl itself, where it has a limit on them; else by that on the disk, to which they are traced.
    with pytest.raises((RepoUnavailableError, RepoLimitError)):
        await host.clone(clone_bytes=20_000_000, clone_timeout_s=60)


async def test_an_answer_that_inflates_without_end_is_ended_by_the_limit_on_disk(host: Host) -> None:
    """A block of 65 kB is some 80 bytes of gzip."""

    def inflating(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(pkt(b"\x01" + HUGE_BLOB))
        block = pkt(b"\x01" + b"\0" + struct.pack("<HH", 65000, 65000 ^ 0xFFFF) + b"\0" * 65000)
        while not host.server.closing.is_set():
            handler.wfile.write(block)

    sends_pack(host, inflating, gzipped=True)
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(clone_bytes=5_000_000, clone_timeout_s=60)
    assert caught.value.limit == "clone_bytes"


async def test_a_delta_that_multiplies_its_base_is_ended_by_the_limit_on_memory(host: Host) -> None:
    """Pack format: a base of 64 KiB, and a delta that copies it into an object of 2 GiB, in some 130 kB."""
    base = b"\0" * 0x10000
    delta = varint(len(base)) + varint(len(base) * 0x8000) + b"\x80" * 0x8000  # `copy` with its defaults: all of it
    named = hashlib.sha1(b"blob %d\0" % len(base) + base, usedforsecurity=False).digest()
    objects = entry(3, len(base)) + zlib.compress(base) + entry(7, len(delta)) + named + zlib.compress(delta)
    pack = b"PACK" + struct.pack(">II", 2, 2) + objects
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    lines = [pkt(b"\x01" + pack[at : at + 60_000]) for at in range(0, len(pack), 60_000)]

    def whole(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"".join(lines) + b"0000")

    sends_pack(host, whole)
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(memory_bytes=256 * 1024 * 1024, clone_timeout_s=60)
    assert caught.value.limit == "memory_bytes"


async def test_a_flood_of_messages_is_ended_by_the_deadline(host: Host) -> None:
    flood = pkt(b"\x02" + b"Receiving objects:  99% (1/1)   \r" * 100 + b"x" * 5000)

    def messages(handler: BaseHTTPRequestHandler) -> None:
        while not host.server.closing.is_set():
            handler.wfile.write(flood)

    sends_pack(host, messages)
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(clone_timeout_s=1.0)
    assert caught.value.limit == "clone_timeout_s"


# Repositories


async def test_a_tree_that_multiplies_itself_is_ended_by_the_limit_on_files(host: Host) -> None:
    """Ten entries, six levels: a million files out of a kilobyte."""
    entry = ("100644", write_blob(host.folder, b"x"))
    for _ in range(6):
        mode, object_id = entry
        entry = ("40000", write_tree(host.folder, [(mode, b"%d" % n, object_id) for n in range(10)]))
    commit_objects(host.folder, [("40000", b"bomb", entry[1])])
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(files=10_000)
    assert caught.value.limit == "files"


async def test_a_small_file_repeated_past_the_limit_on_bytes_is_refused(host: Host) -> None:
    blob = write_blob(host.folder, b"x" * 1000)
    commit_objects(host.folder, [("100644", b"%03d" % n, blob) for n in range(100)])
    assert len(await host.clone(tree_bytes=100_000)) == 100
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(tree_bytes=99_999)
    assert caught.value.limit == "tree_bytes"


@pytest.mark.parametrize("filtered", ["true", "false"])
async def test_a_blob_that_inflates_is_never_read(host: Host, filtered: str) -> None:
    git(host.folder, "config", "uploadpack.allowFilter", filtered)
    write_files(host.folder, {"bomb.py": b"\0" * 30_000_000})
    commit_all(host.folder)
    files = await host.clone(file_bytes=1_000_000)
    assert files == {"a.py": b"a", "bomb.py": None}


async def test_a_huge_tree_object_is_ended_by_the_limit_on_memory(host: Host) -> None:
    name = b"n" * 1_000_000
    blob = write_blob(host.folder, b"x")
    memory_bytes = 64 * 1024 * 1024
    assert await host.clone(memory_bytes=memory_bytes) == {"a.py": b"a"}
    commit_objects(host.folder, [("100644", b"%03d" % n + name, blob) for n in range(70)])
    with pytest.raises(RepoLimitError) as caught:
        await host.clone(memory_bytes=memory_bytes)
    assert caught.value.limit == "memory_bytes"


async def test_names_of_any_bytes_are_left_out_or_harmless(host: Host) -> None:
    blob, inner = write_blob(host.folder, b"x"), write_tree(host.folder, [])
    names = [
        b"..",
        b".",
        b".git",
        b".GIT",
        b"a/../../b",
        b"/etc/passwd",
        b"new\nline",
        b"\x1b]0;title\x07",
        b"\xff",
        b"ok.py",
    ]
    commit_objects(host.folder, [("100644", name, blob) for name in names] + [("40000", b"empty", inner)])
    source = GitSource(mirror=host.server.url, scratch=host.scratch)
    async with source.open(REPO) as tree:
        assert set(tree.files) == {"ok.py"}
        assert dict(tree.skipped) == {"unsafe_name": 6, "control_character": 2, "name_not_utf8": 1}


async def test_links_submodules_hooks_and_filters_do_nothing(host: Host) -> None:
    run = f"touch {host.canary}"
    write_files(
        host.folder,
        {
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{run}\n\tupdate = !{run}\n'.encode(),
            ".gitattributes": b"* filter=evil diff=evil ident export-subst\n",
            ".gitconfig": f"[core]\n\tfsmonitor = {run}\n".encode(),
            ".lfsconfig": b"[lfs]\n\turl = http://127.0.0.1:1/\n",
            "hooks/post-checkout": f"#!/bin/sh\n{run}\n".encode(),
            "ident.py": b"# $Id$\r\n",
        },
    )
    (host.folder / "passwd.py").symlink_to("/etc/passwd")
    (host.folder / "etc").symlink_to("/etc")
    commit = commit_all(host.folder)
    git(host.folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},x")
    git(host.folder, "commit", "--quiet", "--message=submodule")
    for hook in ("post-upload-pack", "pre-receive", "reference-transaction"):
        write_files(host.folder / ".git" / "hooks", {hook: f"#!/bin/sh\n{run}\n".encode()})
        (host.folder / ".git" / "hooks" / hook).chmod(0o755)
    source = GitSource(mirror=host.server.url, scratch=host.scratch)
    async with source.open(REPO) as tree:
        assert dict(tree.skipped) == {"symlink": 2, "submodule": 1}
        assert dict(tree.read(["ident.py"])) == {"ident.py": b"# $Id$\r\n"}
        made = [
            path for path in host.scratch.rglob("*") if path.name in {".gitmodules", "ident.py", "hooks", "passwd.py"}
        ]
        assert made == []


async def test_what_was_filtered_out_is_never_asked_for_later(host: Host) -> None:
    git(host.folder, "config", "uploadpack.allowFilter", "true")
    write_files(host.folder, {"big.py": b"x" * 5000})
    commit_all(host.folder)
    source = GitSource(mirror=host.server.url, scratch=host.scratch, limits=SourceLimits(file_bytes=1000))
    async with source.open(REPO) as tree:
        asked = len(host.server.requests)
        assert dict(tree.read(tree.files)) == {"a.py": b"a", "big.py": None}
        assert len(host.server.requests) == asked


async def test_a_repository_named_by_sha256_is_read(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "github.com" / "owner" / "new"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main", "--object-format=sha256", ".")
    write_files(folder, {"a.py": b"new"})
    commit = commit_all(folder)
    repo = RepoUrl.parse("github.com/owner/new")
    for ref in ("", "main", commit):
        assert await host.clone(repo=repo, ref=ref) == {"a.py": b"new"}
    with pytest.raises(RepoNotFoundError):
        await host.clone(ref=commit)


async def test_a_branch_named_like_an_option_is_only_a_branch(host: Host) -> None:
    git(host.folder, "update-ref", "refs/heads/--upload-pack=x", "HEAD")
    git(host.folder, "update-ref", "refs/heads/-c", "HEAD")
    assert await host.clone() == {"a.py": b"a"}


async def test_a_mirror_folder_of_another_user_is_read(host: Host) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another user")
    for path in [host.folder, *host.folder.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert await host.clone(mirror=str(host.server.root)) == {"a.py": b"a"}


async def test_a_mirror_folder_runs_nothing_of_its_configuration(host: Host) -> None:
    run = f"touch {host.canary}"
    git(host.folder, "config", "uploadpack.packObjectsHook", run)
    git(host.folder, "config", "core.fsmonitor", run)
    git(host.folder, "config", "core.alternateRefsCommand", run)
    git(host.folder, "config", "core.hooksPath", str(host.folder))
    assert await host.clone(mirror=str(host.server.root)) == {"a.py": b"a"}


async def test_no_commit_on_the_default_branch_is_empty(host: Host) -> None:
    git(host.folder, "symbolic-ref", "HEAD", "refs/heads/unborn")
    with pytest.raises(EmptyRepositoryError, match="no commit"):
        await host.clone()
    assert await host.clone(ref="main") == {"a.py": b"a"}


async def test_the_environment_has_no_say(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = f"touch {host.canary}"
    (tmp_path / ".gitconfig").write_text(f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = {host.server.url}\n')
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
    for name in (
        "GIT_SSH_COMMAND",
        "GIT_PROXY_COMMAND",
        "GIT_ASKPASS",
        "SSH_ASKPASS",
        "GIT_EDITOR",
        "GIT_EXTERNAL_DIFF",
    ):
        monkeypatch.setenv(name, run)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_TRACE", str(host.canary))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    assert await host.clone() == {"a.py": b"a"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a disk that is small")
    yield folder
    left = list(folder.iterdir())
    subprocess.run(["umount", str(folder)], check=True)
    assert left == []


async def test_a_full_disk_is_said_so(host: Host, small_disk: Path) -> None:
    write_files(host.folder, {"big.py": os.urandom(2_000_000)})
    commit_all(host.folder)
    source = GitSource(mirror=host.server.url, scratch=small_disk)
    with pytest.raises(RepoSourceError, match="full"):
        async with source.open(REPO):
            pass


async def test_many_attacks_at_once_end_and_leave_an_honest_clone_alone(host: Host) -> None:
    for name in ("one", "two", "three"):
        host.server.answers[f"/github.com/owner/{name}"] = hang(host.server)
    hanging = [
        asyncio.ensure_future(host.clone(repo=RepoUrl.parse(f"github.com/owner/{name}"), stall_timeout_s=1))
        for name in ("one", "two", "three")
    ]
    assert await host.clone() == {"a.py": b"a"}
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert [type(result) for result in results] == [RepoUnavailableError] * 3


# The head of a pack of one blob of 2**40 bytes, whose deflate blocks are to follow, stored as they are.
HUGE_BLOB = b"PACK" + struct.pack(">II", 2, 1) + b"\xb0\x80\x80\x80\x80\x80\x40\x78\x01"


def varint(number: int) -> bytes:
    """A size in a delta: seven bits a byte, the lowest first."""
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def entry(kind: int, size: int) -> bytes:
    """The head of an object in a pack: its kind and four bits of its size, then seven bits a byte."""
    first = kind << 4 | size & 0xF
    return bytes([first | 0x80]) + varint(size >> 4) if size > 0xF else bytes([first])


def sends_pack(host: Host, pack: Answer, *, gzipped: bool = False) -> None:
    """Let the host speak protocol version 0 and say what `pack` says where the pack would come."""
    commit = git(host.folder, "rev-parse", "HEAD").encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.rfile.read(int(handler.headers["Content-Length"]))
        begin(handler, **({"Content-Encoding": "gzip"} if gzipped else {}))
        plain = handler.wfile
        if gzipped:
            handler.wfile = gzip.GzipFile(fileobj=plain, mode="wb")
        handler.wfile.write(pkt(b"shallow %s\n" % commit) + b"0000")
        if b"done" in asked:
            handler.wfile.write(pkt(b"NAK\n"))
            pack(handler)
        if gzipped:
            handler.wfile.close()
            handler.wfile = plain

    host.server.answers[MOVED] = fixed(service(pkt(b"%s HEAD\0side-band-64k shallow ofs-delta\n" % commit)))
    host.server.answers[f"/{REPO.key}/git-upload-pack"] = answer


def pkt(content: bytes) -> bytes:
    """One line of git's protocol: its length in four hex digits, then the content."""
    return b"%04x" % (len(content) + 4) + content


def service(refs: bytes) -> bytes:
    """The first answer of a host, protocol version 0."""
    return pkt(b"# service=git-upload-pack\n") + b"0000" + refs + b"0000"


def begin(handler: BaseHTTPRequestHandler, content_type: str = "", **headers: str) -> None:
    """Begin an answer that ends with the connection."""
    kind = "advertisement" if "info/refs" in handler.path else "result"
    handler.send_response(200)
    handler.send_header("Content-Type", content_type or f"application/x-git-upload-pack-{kind}")
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def fixed(body: bytes, content_type: str = "") -> Answer:
    """Answer with `body`, by default as one of git's own protocol."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        begin(handler, content_type)
        handler.wfile.write(body)

    return answer


def hang(server: GitServer) -> Answer:
    """Answer nothing until the server ends."""

    def answer(_: BaseHTTPRequestHandler) -> None:
        server.closing.wait()

    return answer
