"""Vector store and catalog together: whatever happens in whatever order, a search is never mixed or partial."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from alexandria.domain.embedding import DIMENSION
from alexandria.ports.catalog import Catalog, RepositoryNotFoundError, StaleGenerationError
from alexandria.ports.vector_store import VectorBatch, VectorNotFoundError, VectorStore
from contract.stores import DEPLOYMENTS, Deployment, batch_of, check_hits, graph_of, snapshot_of, store_directory

REPOS = ("host.example/o/a", "host.example/o/b")


@dataclass
class Run:
    """An index run as the model sees it.

    Attributes:
        batch: What it uploads.
        least: How many vectors must be there at least.
        most: How many may be there.
        counted: All of them were counted, so it goes on to activate, whatever happens meanwhile.
    """

    batch: VectorBatch
    least: int = 0
    most: int = 0
    counted: bool = False

    @property
    def size(self) -> int:
        return len(self.batch.embeddings.paths)


@dataclass
class Model:
    """One repository as a plain value: what was announced, what is visible, who works on it."""

    fence: int = 0
    announced: int = 0
    visible: VectorBatch | None = None
    runs: list[Run] = field(default_factory=list)


def made_batch(repo: str, generation: int, size: int) -> VectorBatch:
    """Return vectors that are those of this generation alone: no answer of another can pass for it."""
    rng = random.Random(f"{repo} {generation}")
    vectors = {f"f{i}-of-{generation}.py": [rng.gauss(0, 1) for _ in range(DIMENSION)] for i in range(size)}
    return batch_of(repo, {**vectors, "same.py": [rng.gauss(0, 1) for _ in range(DIMENSION)]}, generation=generation)


class StoresMachine(RuleBasedStateMachine):
    """Runs begin, upload, are cut off, activate late or twice; people search and delete; the program crashes."""

    deployment: Deployment

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.directories = ExitStack()
        self.directory = self.directories.enter_context(store_directory())
        self.models = {repo: Model() for repo in REPOS}
        self.tokens = 0
        self.touched: Run | None = None
        self.loop.run(self.open())

    async def open(self) -> None:
        """Open the stores as two programs do; stores that last no longer than a program have only one."""
        self.opened = AsyncExitStack()
        self.programs: list[tuple[VectorStore, Catalog]] = [
            (
                await self.opened.enter_async_context(self.deployment.vectors(self.directory)),
                await self.opened.enter_async_context(self.deployment.catalog(self.directory)),
            )
            for _ in range(2 if self.deployment.lasting else 1)
        ]
        self.vectors, self.catalog = self.programs[0]

    def teardown(self) -> None:
        self.loop.run(self.opened.aclose())
        self.loop.close()
        self.directories.close()

    def a_run(self, data: st.DataObject, repo: str) -> Run | None:
        runs = self.models[repo].runs[-3:]
        self.touched = data.draw(st.sampled_from(runs), label="run") if runs else None
        return self.touched

    @rule(repo=st.sampled_from(REPOS), size=st.integers(1, 9), announce=st.booleans())
    def start(self, repo: str, size: int, announce: bool) -> None:
        """Take a token; `begin` may come now, late or never, as tasks are scheduled."""
        self.tokens += 1
        self.models[repo].runs.append(Run(made_batch(repo, self.tokens, size)))
        if announce:
            self.announce(repo, self.tokens)

    @rule(repo=st.sampled_from(REPOS), data=st.data())
    def begin(self, repo: str, data: st.DataObject) -> None:
        if run := self.a_run(data, repo):
            self.announce(repo, run.batch.generation)

    def announce(self, repo: str, generation: int) -> None:
        model = self.models[repo]
        if generation < model.fence:
            with pytest.raises(StaleGenerationError):
                self.loop.run(self.catalog.begin(repo, generation))
        else:
            self.loop.run(self.catalog.begin(repo, generation))
            model.fence = model.announced = generation

    @rule(repo=st.sampled_from(REPOS), data=st.data())
    def upload(self, repo: str, data: st.DataObject) -> None:
        """Upload all of it, while somebody searches."""
        if run := self.a_run(data, repo):

            async def upload_and_search() -> None:
                await asyncio.gather(self.vectors.upload(run.batch), *(self.search(repo) for repo in REPOS))

            self.loop.run(upload_and_search())
            run.least = run.most = run.size

    @rule(repo=st.sampled_from(REPOS), after=st.integers(1, 4), data=st.data())
    def upload_cut_off(self, repo: str, after: int, data: st.DataObject) -> None:
        """Cancel an upload after some of its batches, as Ctrl-C or a lost lease does."""
        if run := self.a_run(data, repo):

            async def cut_off() -> None:
                reports: list[float] = []

                def progress(done: float) -> None:
                    reports.append(done)
                    if len(reports) == after:
                        task.cancel()

                task = asyncio.create_task(self.vectors.upload(run.batch, progress=progress))
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()
                    run.least = run.size

            self.loop.run(cut_off())
            run.most = run.size

    @rule(repo=st.sampled_from(REPOS), data=st.data())
    def count(self, repo: str, data: st.DataObject) -> None:
        """Do as the use case does before it activates; only what is complete is activated."""
        if run := self.a_run(data, repo):
            run.counted = self.loop.run(self.vectors.count(repo, run.batch.generation)) == run.size

    @rule(repo=st.sampled_from(REPOS), data=st.data())
    def activate(self, repo: str, data: st.DataObject) -> None:
        """Activate what was counted, however long ago; also again."""
        run, model = self.a_run(data, repo), self.models[repo]
        if run is None or not run.counted:
            return
        graph = graph_of(files=run.batch.embeddings.paths)
        snapshot = snapshot_of(repo, graph, generation=run.batch.generation)
        if run.batch.generation < model.fence:
            with pytest.raises(StaleGenerationError):
                self.loop.run(self.catalog.activate(snapshot, graph))
        else:
            self.loop.run(self.catalog.activate(snapshot, graph))
            model.visible = run.batch
            model.fence = model.announced = run.batch.generation

    @rule(repo=st.sampled_from(REPOS))
    def sweep(self, repo: str) -> None:
        """Sweep below what is current; a run that is still uploading its older vectors may lose them."""
        model = self.models[repo]
        if model.visible is not None:
            below = model.visible.generation
            self.loop.run(self.vectors.sweep(repo, below=below))
            for run in model.runs:
                if run.batch.generation < below:
                    run.least = run.most = 0

    @rule(repo=st.sampled_from(REPOS), data=st.data())
    def discard(self, repo: str, data: st.DataObject) -> None:
        """Discard what was refused, as the use case does, however long ago; what is visible is never refused."""
        run, model = self.a_run(data, repo), self.models[repo]
        if run is not None and run.batch.generation < model.fence and run.batch is not model.visible:
            self.loop.run(self.vectors.discard(repo, run.batch.generation))
            run.least = run.most = 0

    @rule(repo=st.sampled_from(REPOS))
    def delete(self, repo: str) -> None:
        """Delete as the use case does; a run above the fence, that has begun since, is not touched."""
        model = self.models[repo]
        model.visible = None
        if model.announced:
            model.fence = model.announced + 1
        assert self.loop.run(self.catalog.delete(repo)) == model.fence
        self.loop.run(self.vectors.sweep(repo, below=model.fence))
        for run in model.runs:
            if run.batch.generation < model.fence:
                run.least = run.most = 0

    @precondition(lambda self: self.deployment.lasting)
    @rule()
    def crash(self) -> None:
        """Open everything anew: what a process knew is lost, what it stored is not."""
        self.loop.run(self.opened.aclose())
        self.loop.run(self.open())

    @precondition(lambda self: self.deployment.lasting)
    @rule()
    def go_on_in_the_other_program(self) -> None:
        """What one program remembers must not hide what the other has done."""
        self.programs.reverse()
        self.vectors, self.catalog = self.programs[0]

    @invariant()
    def what_a_run_has_stored_is_its_own(self) -> None:
        """Nothing that a store remembers of an unfinished or swept generation is taken for it later."""
        if self.touched is not None:
            batch = self.touched.batch
            for vectors, _ in self.programs:
                stored = self.loop.run(vectors.export(batch.repo, batch.generation))
                assert self.touched.least <= len(stored.paths) <= self.touched.most
                assert set(stored.paths) <= set(batch.embeddings.paths)

    @invariant()
    def counts_are_exact(self) -> None:
        for repo, model in self.models.items():
            for run in model.runs:
                assert run.least <= self.loop.run(self.vectors.count(repo, run.batch.generation)) <= run.most

    @invariant()
    def searches_answer_from_one_whole_generation(self) -> None:
        for repo in REPOS:
            self.loop.run(self.search(repo))

    async def search(self, repo: str) -> None:
        for vectors, catalog in self.programs:
            await self.search_in(vectors, catalog, repo)

    async def search_in(self, vectors: VectorStore, catalog: Catalog, repo: str) -> None:
        visible = self.models[repo].visible
        try:
            snapshot = await catalog.snapshot(repo)
        except RepositoryNotFoundError:
            assert visible is None
            return
        assert visible is not None
        assert snapshot.generation == visible.generation
        assert tuple(f.path for f in await catalog.files(repo)) == visible.embeddings.paths
        hits = await vectors.similar(repo, snapshot.generation, "same.py", k=20)
        check_hits(hits, visible, "same.py", k=20)
        with pytest.raises(VectorNotFoundError):
            await vectors.similar(repo, snapshot.generation, "never.py", k=1)


def try_histories(deployment: Deployment, *, examples: int, steps: int) -> None:
    machine = type("Machine", (StoresMachine,), {"deployment": deployment})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_search_is_never_mixed_or_partial(name: str) -> None:
    try_histories(DEPLOYMENTS[name], examples=DEPLOYMENTS[name].examples, steps=30)


@pytest.mark.long
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_search_is_never_mixed_or_partial_in_long_histories(name: str) -> None:
    try_histories(DEPLOYMENTS[name], examples=100, steps=50)
