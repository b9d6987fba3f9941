"""`VECTOR_STORE`: which store it names, ours or anybody's, and what is said when it names none."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import npz_vectors
from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.entrypoints.settings import Settings, SettingsError
from alexandria.entrypoints.vector_stores import BUILT_IN, load_factory, open_vector_store
from alexandria.ports.vector_store import VectorStore, VectorStoreMismatchError
from contract.stores import batch_of, vector

HERE = __name__


class NotAStore:
    """It has every method that it was asked for in a hurry, and inherits no port."""

    async def count(self, repo: str, generation: int) -> int:
        return 0


class HalfAStore(VectorStore):
    """An adapter whose author has not come far."""

    async def count(self, repo: str, generation: int) -> int:
        return 0


closed: list[VectorStore] = []


@asynccontextmanager
async def opens_memory(_settings: Settings) -> AsyncIterator[VectorStore]:
    store = MemoryVectorStore()
    yield store
    closed.append(store)


@asynccontextmanager
async def opens_no_store(_settings: Settings) -> AsyncIterator[object]:
    yield NotAStore()


@asynccontextmanager
async def opens_half_a_store(_settings: Settings) -> AsyncIterator[object]:
    yield HalfAStore()  # type: ignore[abstract]  # what a careless author writes


def returns_a_store(_settings: Settings) -> VectorStore:
    return MemoryVectorStore()


not_callable = 3


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module is found by its name; a test's has none of its own here."""
    monkeypatch.setitem(sys.modules, "users_own", sys.modules[HERE])


def settings(choice: str, tmp_path: Path) -> Settings:
    return Settings.load(vector_store=choice, data_dir=tmp_path)


@pytest.mark.parametrize("choice", BUILT_IN)
def test_each_of_our_names_names_a_factory(choice: str) -> None:
    assert callable(load_factory(choice))


def test_a_module_and_its_factory_are_found_by_name() -> None:
    assert load_factory("users_own:opens_memory") is opens_memory


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("", "is one of sqlite, qdrant, pgvector, memory, or module:factory, not ''"),
        ("quadrant", "is one of sqlite, .*not 'quadrant'"),
        ("users_own", "not 'users_own'"),
        ("users_own:", "not 'users_own:'"),
        (":opens_memory", "not ':opens_memory'"),
        ("no_such_module_here:f", "no_such_module_here cannot be imported: No module named"),
        ("no.such:f", "no.such cannot be imported: No module named"),
        (".relative:f", ".relative cannot be imported"),
        ("a..b:f", "a..b cannot be imported"),
        ("users_own:no_such_factory", "users_own has no no_such_factory"),
        ("users_own:not_callable", "users_own:not_callable cannot be called"),
    ],
)
def test_a_name_of_nothing_says_so(choice: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"VECTOR_STORE: .*{words}"):
        load_factory(choice)


async def test_the_store_is_closed_when_it_is_left(tmp_path: Path) -> None:
    closed.clear()
    async with open_vector_store(settings("users_own:opens_memory", tmp_path)) as store:
        assert closed == []
    assert closed == [store]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("users_own:opens_no_store", "opens a NotAStore, which is no VectorStore"),
        ("users_own:returns_a_store", "gives no asynchronous context manager"),
    ],
)
async def test_a_factory_of_something_else_says_so(tmp_path: Path, choice: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"VECTOR_STORE: {choice} {words}"):
        async with open_vector_store(settings(choice, tmp_path)):
            pass


async def test_a_half_made_adapter_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="abstract methods"):
        async with open_vector_store(settings("users_own:opens_half_a_store", tmp_path)):
            pass


async def test_the_adapter_of_the_guide_is_chosen_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPZ_VECTORS", str(tmp_path / "vectors"))
    async with open_vector_store(settings("npz_vectors:open_store", tmp_path)) as store:
        assert type(store) is npz_vectors.NpzVectorStore
        await store.upload(batch_of("r", {"a.py": vector(1)}))
    assert len(list((tmp_path / "vectors").glob("*/1.npz"))) == 1


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 and not more"])
async def test_a_file_that_the_adapter_of_the_guide_did_not_write_is_an_error_of_the_port(
    tmp_path: Path, content: bytes
) -> None:
    store = npz_vectors.NpzVectorStore(tmp_path)
    await store.upload(batch_of("r", {"a.py": vector(1)}))
    (file,) = files_below(tmp_path)
    file.write_bytes(content)
    with pytest.raises(VectorStoreMismatchError, match="not as we write it"):
        await store.count("r", 1)


async def test_the_adapter_of_the_guide_sweeps_what_a_killed_writer_left(tmp_path: Path) -> None:
    store = npz_vectors.NpzVectorStore(tmp_path)
    await store.upload(batch_of("r", {"a.py": vector(1)}))
    (file,) = files_below(tmp_path)
    file.rename(file.with_suffix(".4711.part"))
    await store.sweep("r", below=2)
    assert files_below(tmp_path) == []
