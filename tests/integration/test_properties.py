"""Properties of the user's list that belong to no single adapter: 5, 8 and 12, and the numbers of the training."""

from __future__ import annotations

import asyncio
import itertools
import posixpath
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.git.clone import GitSource
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.qdrant.vector_store import QdrantVectorStore
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import CodeGraph, read_code_graph
from alexandria.domain.embedding import DIMENSION, EmbeddingReport, EmbeddingSet
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.language import Language
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.selection import Selection
from alexandria.entrypoints.settings import Settings, SettingsError, variable_of
from alexandria.ports.vector_store import VectorBatch
from support.qdrant_rest import API_KEY, QdrantServer, rest_server

REPO = RepoUrl.parse("https://github.com/test/any")

# Written out here, not taken from the code: the extensions of the five languages, and a text of each that imports one
# thing from outside the repository.
TEXTS = {
    **dict.fromkeys([".py", ".pyi"], "import os\n"),
    **dict.fromkeys([".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"], "import x from 'react'\n"),
    ".java": "import java.util.List;\nclass X {}\n",
    ".go": 'package p\n\nimport "fmt"\n\nvar _ = fmt.Sprint\n',
}
OTHERS = ["", ".md", ".txt", ".PY", ".pyc", ".json", ".rs", ".py.orig", ".gz"]
FOLDERS = ["", "src", "src/pkg", "lib/a b", "tests", "ünï", "deep/er/and/deep/er"]
STEMS = ["main", "x", "with space", "été", "-dash", "a.b", "index", "__init__"]
BROKEN = "}}} )( <<<<<<< HEAD\n"

FILES = st.dictionaries(
    st.builds(
        lambda folder, stem, extension: posixpath.join(folder, stem + extension),
        *(st.sampled_from(FOLDERS), st.sampled_from(STEMS), st.sampled_from([*TEXTS, *OTHERS])),
    ),
    st.booleans(),  # whether the text is followed by what no parser takes
    min_size=1,
    max_size=25,
)


def extension_of(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[1]


def commit(repository: Path, files: dict[str, bool]) -> None:
    """Make a commit of `files` alone, in one process: `git add` would take three."""
    stream = [b"commit refs/heads/main\ncommitter T <t@example.org> 0 +0000\ndata 0\n"]
    for path, broken in files.items():
        text = (TEXTS.get(extension_of(path), "plain\n") + (BROKEN if broken else "")).encode()
        name = path.encode()
        stream.append(b'M 100644 inline "%s"\ndata %d\n%s\n' % (name, len(text), text))
    command = ["git", "-C", str(repository), "fast-import", "--quiet", "--force"]
    subprocess.run(command, input=b"".join(stream), check=True)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    repository = folder / "github.com/test/any"
    repository.mkdir(parents=True)
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", "--bare", repository], check=True)
    return folder


async def cloned_graph(mirror: Path) -> CodeGraph:
    source = GitSource(mirror=str(mirror))
    return await read_code_graph(REPO, source=source, parser=TreeSitterParser(processes=1), selection=Selection())


@settings(max_examples=100)
@given(files=FILES.filter(lambda files: any(extension_of(path) in TEXTS for path in files)))
def test_property_05_every_source_file_of_a_cloned_repository_is_parsed_and_is_a_node(
    mirror: Path, files: dict[str, bool]
) -> None:
    commit(mirror / "github.com/test/any", files)
    code = asyncio.run(cloned_graph(mirror))
    sources = {path for path in files if extension_of(path) in TEXTS}
    assert set(code.graph.files) == sources
    # Each holds one import from outside: as many were read as there are files, broken or not.
    assert code.graph.counts.external == len(sources)


# --- 8 ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """A store over a stand-in for Qdrant, the loop they live in, and numbers that were not used before."""

    loop: asyncio.AbstractEventLoop
    server: QdrantServer
    store: QdrantVectorStore
    numbers: Iterator[int]


@asynccontextmanager
async def opened(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Stored]:
    async with rest_server() as server, QdrantVectorStore(server.url, api_key=API_KEY) as store:
        yield Stored(loop, server, store, itertools.count(1))


@pytest.fixture(scope="module")
def qdrant() -> Iterator[Stored]:
    loop = asyncio.new_event_loop()
    opening = opened(loop)
    yield loop.run_until_complete(opening.__aenter__())
    loop.run_until_complete(opening.__aexit__(None, None, None))
    loop.close()


PATHS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
ENTRIES = st.dictionaries(PATHS, st.tuples(st.booleans(), st.sampled_from(Language)), min_size=1, max_size=12)


@settings(max_examples=100)
@given(entries=ENTRIES, owner=st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True))
def test_property_08_all_are_stored_with_file_path_and_repo_url(
    qdrant: Stored, entries: dict[str, tuple[bool, Language]], owner: str
) -> None:
    repo = RepoUrl.parse(f"https://github.com/{owner}/repo{next(qdrant.numbers)}")
    paths = tuple(sorted(entries))
    isolated = np.array([entries[path][0] for path in paths], np.bool_)
    vectors = np.random.default_rng(0).standard_normal((len(paths), DIMENSION), dtype=np.float32)
    vectors[isolated] = 0
    embeddings = EmbeddingSet(paths, vectors, isolated, EmbeddingReport("node2vec", 0, "cpu", 0.0))
    languages = tuple(entries[path][1] for path in paths)
    batch = VectorBatch(repo.key, repo.url, 1, "c0ffee", languages, embeddings)
    qdrant.loop.run_until_complete(qdrant.store.upload(batch))
    [collection] = qdrant.server.collections.values()
    stored = [payload for _, payload in collection.points.values() if payload["repo_key"] == repo.key]
    assert sorted(payload["file_path"] for payload in stored) == list(paths)
    assert {payload["repo_url"] for payload in stored} == {repo.url}


# --- 12 -----------------------------------------------------------------------------------------------------------

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
ELSEWHERE = st.one_of(
    st.builds("{}.{}.com".format, LABEL, LABEL),
    st.ip_addresses(v=4).filter(lambda address: not address.is_loopback).map(str),
    st.ip_addresses(v=6).filter(lambda address: not address.is_loopback).map("[{}]".format),
    st.sampled_from(["localhost.example.com", "127.0.0.1.example.com", "127.1.example.com", "0x7f.example.com"]),
)
HERE = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "127.9.8.7"])
IN_THE_CLEAR = {
    "qdrant_url": "http://{}:6333",
    "upstash_redis_rest_url": "http://{}",
    "redis_url": "redis://:secret@{}:6379",
    "database_url": "postgresql://u:secret@{}/alexandria?sslmode=prefer",
}
ENCRYPTED = {
    "qdrant_url": "https://{}:6333",
    "upstash_redis_rest_url": "https://{}",
    "redis_url": "rediss://:secret@{}:6379",
    "database_url": "postgresql://u:secret@{}/alexandria?sslmode=require",
}


def faults_of(field: str, value: str) -> str:
    """Return what the settings say against a value; nothing if they take it."""
    try:
        Settings.load(**{field: value})
    except SettingsError as error:
        return "\n".join(fault for fault in error.faults if fault.startswith(variable_of(field)))
    return ""


@settings(max_examples=100)
@given(field=st.sampled_from(sorted(IN_THE_CLEAR)), elsewhere=ELSEWHERE, here=HERE)
def test_property_12_what_leaves_this_machine_is_encrypted(field: str, elsewhere: str, here: str) -> None:
    refused = faults_of(field, IN_THE_CLEAR[field].format(elsewhere))
    assert refused
    assert "secret" not in refused
    assert not faults_of(field, ENCRYPTED[field].format(elsewhere))
    assert not faults_of(field, IN_THE_CLEAR[field].format(here))


@settings(max_examples=100)
@given(
    host=st.sampled_from(["github.com", "GitLab.com", "codeberg.org"]),
    form=st.sampled_from(["{}/u/r", "https://{}/u/r", "https://{}/u/r.git", "git@{}:u/r.git", "http://{}/u/r"]),
)
def test_property_12_repositories_are_cloned_by_https_alone(host: str, form: str) -> None:
    if form.startswith("http://"):
        with pytest.raises(InvalidRepoUrlError):
            RepoUrl.parse(form.format(host))
    else:
        assert RepoUrl.parse(form.format(host)).url == f"https://{host.lower()}/u/r"


# --- R5.3, R5.4 ---------------------------------------------------------------------------------------------------


def test_the_training_has_the_numbers_that_were_asked_for() -> None:
    numbers = Node2VecSettings()
    assert (numbers.dimension, numbers.walk_length, numbers.context_size, numbers.walks_per_node) == (64, 20, 10, 10)
    assert numbers.epochs >= 10
