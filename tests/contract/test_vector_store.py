from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.vector_store import IsolatedVectorError, VectorBatch, VectorNotFoundError, VectorStore
from contract.stores import (
    LANGUAGES,
    PATHS,
    TOLERANCE,
    VECTOR_STORES,
    batch_of,
    batches,
    check_hits,
    fresh_repo,
    random_batch,
    store_directory,
    vector,
    with_generation,
)

# The store is shared by the examples of a property; each of them has a repository of its own.
with_examples = settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

COMPASS = {
    "a/north.py": vector(0, 1),
    "a/north_east.py": vector(1, 1),
    "b/east.py": vector(1, 0),
    "b/south.py": vector(0, -1),
    "c/nowhere.py": vector(),
}


@pytest.fixture(params=VECTOR_STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[VectorStore]:
    with store_directory() as directory:
        async with VECTOR_STORES[request.param](directory) as opened:
            yield opened


async def upload_cut_off(store: VectorStore, batch: VectorBatch, *, after: int) -> None:
    """Upload until progress was reported `after` times, then cancel, as Ctrl-C does."""
    reports = 0

    def progress(_: float) -> None:
        nonlocal reports
        reports += 1
        if reports == after:
            task.cancel()

    task = asyncio.create_task(store.upload(batch, progress=progress))
    await asyncio.wait([task])
    assert task.cancelled()


async def paths_near(store: VectorStore, batch: VectorBatch, path: str, k: int = 10, **filters: object) -> list[str]:
    hits = await store.similar(batch.repo, batch.generation, path, k=k, **filters)  # type: ignore[arg-type]  # by test
    return [hit.path for hit in hits]


# upload, count


async def test_upload_stores_every_vector_isolated_ones_too(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert await store.count("r", 1) == 5
    assert (await store.export("r", 1)).paths == batch.embeddings.paths


async def test_upload_works_in_bounded_batches(store: VectorStore) -> None:
    done: list[float] = []
    await store.upload(random_batch("r", 10_000), progress=done.append)
    assert await store.count("r", 1) == 10_000
    assert len(done) > 2


async def test_the_same_batch_again_changes_nothing(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    before = await store.export("r", 1)
    await store.upload(batch)
    after = await store.export("r", 1)
    assert after.paths == before.paths
    assert np.array_equal(after.vectors, before.vectors)
    assert await store.count("r", 1) == 5


async def test_an_upload_that_was_cut_off_is_completed_by_the_same_upload(store: VectorStore) -> None:
    batch = random_batch("r", 9000)
    await upload_cut_off(store, batch, after=1)
    assert await store.count("r", 1) <= 9000
    await store.upload(batch)
    assert await store.count("r", 1) == 9000
    check_hits(await store.similar("r", 1, "src/000000.py", k=5), batch, "src/000000.py", k=5)


async def test_an_upload_that_was_cut_off_shows_in_count_and_is_swept(store: VectorStore) -> None:
    await upload_cut_off(store, random_batch("r", 9000), after=1)
    assert await store.count("r", 1) < 9000
    await store.sweep("r", below=2)
    assert await store.count("r", 1) == 0


async def test_an_upload_that_was_cut_off_does_not_touch_other_generations(store: VectorStore) -> None:
    old = batch_of("r", COMPASS)
    await store.upload(old)
    await upload_cut_off(store, random_batch("r", 9000, generation=2), after=1)
    assert await store.count("r", 1) == 5
    assert await paths_near(store, old, "a/north.py") == ["a/north_east.py", "b/east.py", "b/south.py"]


async def test_a_search_while_an_upload_was_cut_off_does_not_hide_what_is_added_later(store: VectorStore) -> None:
    batch = random_batch("r", 9000)
    await upload_cut_off(store, batch, after=1)
    await store.export("r", 1)  # what a store may remember of this is half the truth
    await store.upload(batch)
    assert len((await store.export("r", 1)).paths) == 9000


async def test_progress_never_falls_and_ends_at_one(store: VectorStore) -> None:
    done: list[float] = []
    await store.upload(random_batch("r", 9000), progress=done.append)
    assert done == sorted(done)
    assert done[0] >= 0
    assert done[-1] == 1


async def test_progress_is_called_on_the_event_loop(store: VectorStore) -> None:
    tasks = set()
    await store.upload(batch_of("r", COMPASS), progress=lambda _: tasks.add(asyncio.current_task()))
    assert tasks == {asyncio.current_task()}


async def test_an_empty_batch_is_uploaded_and_nothing_is_there(store: VectorStore) -> None:
    done: list[float] = []
    await store.upload(batch_of("r", {}), progress=done.append)
    assert done[-1] == 1
    assert await store.count("r", 1) == 0


@pytest.mark.parametrize("path", ["a\0b.py", "a\udcff.py"])
async def test_a_path_that_is_no_text_without_nul_is_refused(store: VectorStore, path: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        await store.upload(batch_of("r", {path: vector(1)}))
    assert await store.count("r", 1) == 0


async def test_count_of_an_unknown_generation_is_zero(store: VectorStore) -> None:
    await store.upload(batch_of("r", COMPASS, generation=7))
    assert [await store.count("r", g) for g in (6, 7, 8)] == [0, 5, 0]
    assert await store.count("other", 7) == 0


async def test_uploads_at_the_same_time_do_not_mix(store: VectorStore) -> None:
    made = [random_batch(f"r{i}", 50 + i, seed=i) for i in range(8)]
    await asyncio.gather(*map(store.upload, made))
    assert [await store.count(b.repo, 1) for b in made] == [50 + i for i in range(8)]
    for batch in made:
        check_hits(await store.similar(batch.repo, 1, "src/000003.py", k=4), batch, "src/000003.py", k=4)


# similar


async def test_the_best_comes_first(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert await paths_near(store, batch, "a/north.py") == ["a/north_east.py", "b/east.py", "b/south.py"]


async def test_the_file_itself_is_never_among_them(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert "b/east.py" not in await paths_near(store, batch, "b/east.py")


async def test_isolated_files_are_never_among_them(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert "c/nowhere.py" not in await paths_near(store, batch, "b/south.py", k=100)


async def test_fewer_than_k_come_back_when_fewer_fit(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert len(await paths_near(store, batch, "a/north.py", k=2)) == 2
    assert len(await paths_near(store, batch, "a/north.py", k=1000)) == 3


async def test_a_file_alone_has_no_neighbour(store: VectorStore) -> None:
    batch = batch_of("r", {"only.py": vector(1), "nowhere.py": vector()})
    await store.upload(batch)
    assert await paths_near(store, batch, "only.py") == []


async def test_equal_similarities_come_in_the_order_of_the_paths(store: VectorStore) -> None:
    twins = {f"{name}.py": vector(3, 1, 2) for name in "zbacyd"}
    batch = batch_of("r", {"start.py": vector(1, 1), "far.py": vector(-1), **twins})
    await store.upload(batch)
    assert await paths_near(store, batch, "start.py", k=4) == ["a.py", "b.py", "c.py", "d.py"]


async def test_equal_vectors_have_equal_similarities_wherever_they_stand(store: VectorStore) -> None:
    rows = np.random.default_rng(1).standard_normal((2, DIMENSION)).tolist()
    batch = batch_of("r", {"start.py": rows[0], **{f"{i:04}.py": rows[1] for i in range(1001)}})
    await store.upload(batch)
    hits = await store.similar("r", 1, "start.py", k=1001)
    assert len({hit.similarity for hit in hits}) == 1
    assert [hit.path for hit in hits] == sorted(hit.path for hit in hits)


async def test_opposite_vector_has_similarity_minus_one(store: VectorStore) -> None:
    await store.upload(batch_of("r", {"a.py": vector(0.3, 4), "b.py": vector(-0.3, -4)}))
    (hit,) = await store.similar("r", 1, "a.py", k=1)
    assert hit.similarity == pytest.approx(-1, abs=TOLERANCE)
    assert hit.similarity >= -1


async def test_same_direction_has_similarity_one_whatever_the_norms(store: VectorStore) -> None:
    await store.upload(batch_of("r", {"a.py": vector(3e-30, 4e-30), "b.py": vector(3e30, 4e30)}))
    (hit,) = await store.similar("r", 1, "a.py", k=1)
    assert hit.similarity == pytest.approx(1, abs=TOLERANCE)
    assert hit.similarity <= 1


async def test_twins_and_opposites_stay_within_one_whatever_the_rounding(store: VectorStore) -> None:
    # Rows whose square, summed up in float32, comes out above one; one in a hundred and fifty does.
    rows = np.random.default_rng(5).standard_normal((2000, DIMENSION), dtype=np.float32)[[318, 518, 608, 811, 881]]
    signs = {"a": 1, "b": -1, "c": 1}
    vectors = {f"{i}/{name}": (signs[name] * row).tolist() for i, row in enumerate(rows) for name in signs}
    await store.upload(batch_of("r", vectors))
    for i in range(len(rows)):
        twin, opposite = await store.similar("r", 1, f"{i}/a", k=2, path_prefix=f"{i}/")
        assert (twin.path, opposite.path) == (f"{i}/c", f"{i}/b")
        assert 1 - TOLERANCE <= twin.similarity <= 1
        assert -1 <= opposite.similarity <= -1 + TOLERANCE


async def test_right_angle_has_similarity_zero(store: VectorStore) -> None:
    await store.upload(batch_of("r", {"a.py": vector(1), "b.py": vector(0, 1)}))
    (hit,) = await store.similar("r", 1, "a.py", k=1)
    assert hit.similarity == pytest.approx(0, abs=TOLERANCE)


async def test_a_hit_names_its_language(store: VectorStore) -> None:
    await store.upload(batch_of("r", {"a.py": vector(1), "b.go": vector(1)}, languages={"b.go": Language.GO}))
    (hit,) = await store.similar("r", 1, "a.py", k=1)
    assert hit.language is Language.GO


MIXED = {"a.py": Language.PYTHON, "b.go": Language.GO, "c.ts": Language.TYPESCRIPT, "d.py": Language.PYTHON}


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ((), ["b.go", "c.ts", "d.py"]),
        ((Language.GO,), ["b.go"]),
        ({Language.GO, Language.PYTHON}, ["b.go", "d.py"]),
        ([Language.JAVA], []),
    ],
)
async def test_only_files_of_the_languages_asked_for(
    store: VectorStore, languages: tuple[Language, ...], expected: list[str]
) -> None:
    batch = batch_of("r", {path: vector(1) for path in MIXED}, languages=MIXED)
    await store.upload(batch)
    assert await paths_near(store, batch, "a.py", languages=languages) == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a/", ["a/north.py", "a/north_east.py"]),
        ("a/north", ["a/north.py", "a/north_east.py"]),
        ("a/north.", ["a/north.py"]),
        ("a/north.py", ["a/north.py"]),
        ("b", ["b/south.py"]),
        ("%", []),
        ("_/", []),
        ("*", []),
        ("A/", []),
        ("north", []),
        ("\U0010ffff", []),
    ],
)
async def test_only_paths_that_start_with_the_prefix_as_a_string(
    store: VectorStore, prefix: str, expected: list[str]
) -> None:
    batch = batch_of("r", COMPASS)
    await store.upload(batch)
    assert await paths_near(store, batch, "b/east.py", path_prefix=prefix) in (expected, expected[::-1])


@pytest.mark.parametrize("special", ["%", "_", "*", "?", "[a]", "\\", "'", '"', "ä", "𝄞", " ", "\n", "\t", "$1", "{}"])
async def test_no_character_of_a_prefix_is_special(store: VectorStore, special: str) -> None:
    batch = batch_of("r", {f"{special}/in.py": vector(1), "out.py": vector(1), "start.py": vector(1)})
    await store.upload(batch)
    assert await paths_near(store, batch, "start.py", path_prefix=special) == [f"{special}/in.py"]


async def test_the_file_asked_for_need_not_pass_the_filters(store: VectorStore) -> None:
    batch = batch_of("r", {path: vector(1) for path in MIXED}, languages=MIXED)
    await store.upload(batch)
    assert await paths_near(store, batch, "a.py", languages=[Language.GO], path_prefix="b") == ["b.go"]


@pytest.mark.parametrize("k", [0, -1])
async def test_k_below_one_is_refused(store: VectorStore, k: int) -> None:
    await store.upload(batch_of("r", COMPASS))
    with pytest.raises(ValueError, match="k is"):
        await store.similar("r", 1, "a/north.py", k=k)


@pytest.mark.parametrize(
    ("repo", "generation", "path"), [("r", 1, "a/no"), ("r", 2, "a/north.py"), ("other", 1, "a/north.py")]
)
async def test_a_path_without_a_vector_in_this_generation_is_not_found(
    store: VectorStore, repo: str, generation: int, path: str
) -> None:
    await store.upload(batch_of("r", COMPASS))
    with pytest.raises(VectorNotFoundError) as caught:
        await store.similar(repo, generation, path, k=1)
    assert (caught.value.repo, caught.value.path) == (repo, path)


async def test_an_isolated_file_has_no_neighbours_and_says_so(store: VectorStore) -> None:
    await store.upload(batch_of("r", COMPASS))
    with pytest.raises(IsolatedVectorError) as caught:
        await store.similar("r", 1, "c/nowhere.py", k=1)
    assert (caught.value.repo, caught.value.path) == ("r", "c/nowhere.py")


async def test_vectors_of_two_repositories_or_generations_are_never_compared(store: VectorStore) -> None:
    mine = batch_of("r", {"a.py": vector(1), "b.py": vector(0, 1)}, generation=2)
    await store.upload(mine)
    await store.upload(batch_of("r", {"old.py": vector(1), "a.py": vector(0, 1)}, generation=1))
    await store.upload(batch_of("r2", {"other.py": vector(1), "a.py": vector(1)}, generation=2))
    assert await paths_near(store, mine, "a.py") == ["b.py"]


@with_examples
@given(
    batch=batches(),
    k=st.integers(1, 12),
    languages=st.sets(LANGUAGES, max_size=3),
    path_prefix=st.just("") | PATHS.map(lambda path: path[:2]),
)
async def test_search_agrees_with_plain_sums(
    store: VectorStore, batch: VectorBatch, k: int, languages: set[Language], path_prefix: str
) -> None:
    await store.upload(batch)
    for path, isolated in zip(batch.embeddings.paths, batch.embeddings.isolated.tolist(), strict=True):
        search = store.similar(batch.repo, batch.generation, path, k=k, languages=languages, path_prefix=path_prefix)
        if isolated:
            with pytest.raises(IsolatedVectorError):
                await search
        else:
            check_hits(await search, batch, path, k=k, languages=languages, path_prefix=path_prefix)


async def test_numbers_agree_across_adapters(tmp_path: Path) -> None:
    batch = random_batch("r", 2000)
    answers = []
    async with AsyncExitStack() as stack:
        for name, open_store in VECTOR_STORES.items():
            (tmp_path / name).mkdir(parents=True)
            store = await stack.enter_async_context(open_store(tmp_path / name))
            await store.upload(batch)
            answers.append(await store.similar("r", 1, "src/000042.py", k=1999))
    for answer in answers[1:]:
        theirs = {hit.path: hit.similarity for hit in answer}
        assert {hit.path: hit.similarity for hit in answers[0]} == pytest.approx(theirs, abs=TOLERANCE)


# export


@with_examples
@given(batch=batches())
async def test_export_returns_what_was_uploaded_up_to_the_norms(store: VectorStore, batch: VectorBatch) -> None:
    await store.upload(batch)
    stored = await store.export(batch.repo, batch.generation)
    given_vectors = batch.embeddings.vectors.astype(np.float64)
    assert stored.paths == batch.embeddings.paths
    assert np.array_equal(stored.isolated, batch.embeddings.isolated)
    assert stored.vectors.dtype == np.float32
    assert stored.vectors.shape == given_vectors.shape
    lengths = np.linalg.norm(stored.vectors.astype(np.float64), axis=1, keepdims=True)
    norms = np.linalg.norm(given_vectors, axis=1, keepdims=True)
    assert np.array_equal(lengths[:, 0] == 0, batch.embeddings.isolated)
    linked = ~batch.embeddings.isolated
    np.testing.assert_allclose(
        stored.vectors[linked] / lengths[linked], given_vectors[linked] / norms[linked], atol=TOLERANCE
    )


async def test_export_of_an_unknown_generation_is_empty(store: VectorStore) -> None:
    stored = await store.export("r", 1)
    assert stored.paths == ()
    assert stored.vectors.shape == (0, DIMENSION)
    assert stored.vectors.dtype == np.float32
    assert stored.isolated.shape == (0,)
    assert stored.isolated.dtype == np.bool_


# sweep, discard, check


async def test_sweep_removes_every_smaller_generation_and_no_other(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    for generation in (1, 2, 5, 9):
        await store.upload(with_generation(batch, generation))
    await store.upload(batch_of("r2", COMPASS))
    await store.sweep("r", below=5)
    assert [await store.count("r", g) for g in (1, 2, 5, 9)] == [0, 0, 5, 5]
    assert await store.count("r2", 1) == 5


async def test_sweep_may_be_repeated_and_may_find_nothing(store: VectorStore) -> None:
    await store.upload(batch_of("r", COMPASS, generation=3))
    for _ in range(2):
        await store.sweep("r", below=3)
        await store.sweep("other", below=3)
    assert await store.count("r", 3) == 5


async def test_a_generation_that_was_swept_is_never_found_again(store: VectorStore) -> None:
    await store.upload(batch_of("r", COMPASS))
    await store.similar("r", 1, "a/north.py", k=1)
    await store.sweep("r", below=2)
    with pytest.raises(VectorNotFoundError):
        await store.similar("r", 1, "a/north.py", k=1)
    assert (await store.export("r", 1)).paths == ()


async def test_discard_removes_exactly_one_generation(store: VectorStore) -> None:
    batch = batch_of("r", COMPASS)
    for generation in (1, 2, 5, 9):
        await store.upload(with_generation(batch, generation))
    await store.upload(batch_of("r2", COMPASS, generation=5))
    await store.discard("r", 5)
    assert [await store.count("r", g) for g in (1, 2, 5, 9)] == [5, 5, 0, 5]
    assert await store.count("r2", 5) == 5
    with pytest.raises(VectorNotFoundError):
        await store.similar("r", 5, "a/north.py", k=1)
    assert await paths_near(store, batch, "a/north.py") == ["a/north_east.py", "b/east.py", "b/south.py"]


async def test_discard_may_be_repeated_and_may_find_nothing(store: VectorStore) -> None:
    await store.upload(batch_of("r", COMPASS, generation=3))
    for _ in range(2):
        await store.discard("r", 2)
        await store.discard("r", 4)
        await store.discard("other", 3)
    assert await store.count("r", 3) == 5


async def test_discard_removes_the_part_that_an_upload_left_behind(store: VectorStore) -> None:
    await upload_cut_off(store, random_batch("r", 9000), after=1)
    await store.discard("r", 1)
    assert await store.count("r", 1) == 0
    assert (await store.export("r", 1)).paths == ()


@pytest.mark.parametrize("remove", [lambda s: s.sweep("r", below=2), lambda s: s.discard("r", 1)])
async def test_what_was_removed_can_be_uploaded_again_with_other_vectors(
    store: VectorStore, remove: Callable[[VectorStore], Awaitable[None]]
) -> None:
    await store.upload(batch_of("r", COMPASS))
    await store.similar("r", 1, "a/north.py", k=1)
    await remove(store)
    other = batch_of("r", {"a/north.py": vector(1), "x.py": vector(1)})
    await store.upload(other)
    assert await paths_near(store, other, "a/north.py") == ["x.py"]


async def test_check_of_a_store_that_answers_says_nothing(store: VectorStore) -> None:
    await store.check()
    assert await store.count(fresh_repo(), 1) == 0  # and changes nothing
