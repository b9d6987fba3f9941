"""The worker: takes jobs from the queue until it is told to stop. `python worker.py` and `alexandria worker`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from alexandria.application.jobs import WorkedOff, WorkRules, work_off, work_off_queue
from alexandria.application.pacing import Backoff, Polling, Timer, pause
from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.doctor import Verdict, examine, train_a_sample
from alexandria.entrypoints.hardware import describe_machine, describe_training
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.logs import configure_logs, log_context
from alexandria.entrypoints.presentation import plain
from alexandria.entrypoints.settings import Settings, SettingsError
from alexandria.entrypoints.systemd import ServiceManager
from alexandria.ports.catalog import CatalogUnavailableError
from alexandria.ports.job_queue import Claim, JobQueueUnavailableError
from alexandria.ports.vector_store import VectorStoreUnavailableError

logger = logging.getLogger(__name__)

LEAVE_S = 10.0
"""Seconds that the last word on the board may take."""

_HOURS_A_MONTH = 24 * 30
_UNREACHABLE = (JobQueueUnavailableError, CatalogUnavailableError, VectorStoreUnavailableError)


class CannotIndexError(AlexandriaError):
    """These settings open stores without what reads code."""


class StoreRefusedError(AlexandriaError):
    """A store answered that it will not serve this worker, or with `--once` did not answer.

    Attributes:
        faults: One sentence for each such store.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class Stopping:
    """Turns the first SIGINT or SIGTERM into `event`; the second ends the process at once.

    What the second one leaves on the disk, the next start removes; the job's lease lapses.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while the block runs."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        with contextlib.ExitStack() as stack:
            for number in numbers:
                if sys.platform == "win32":  # its event loops take no handlers
                    before = signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._stop, n))
                    stack.callback(signal.signal, number, before)
                else:
                    loop.add_signal_handler(number, self._stop, number)
                    stack.callback(loop.remove_signal_handler, number)
            yield

    def _stop(self, number: int) -> None:
        if self.event.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        logger.info("told to stop; once more ends it at once", extra={"signal": signal.Signals(number).name})
        self.event.set()


def default_worker_id() -> str:
    """Return a name that tells people which machine and process this is."""
    return f"{socket.gethostname()}-{os.getpid()}"


async def work(
    alexandria: Alexandria,
    worker_id: str,
    *,
    once: bool = False,
    stopping: Stopping | None = None,
    manager: ServiceManager | None = None,
    timer: Timer | None = None,
) -> int:
    """Verify the stores, then work off the queue; return how many attempts were made.

    SIGINT and SIGTERM end the loop: a job that is being uploaded is finished, another is given back.
    Cancelling the task gives it back, too.

    Args:
        alexandria: Where the queue and the stores are.
        worker_id: Names this worker.
        once: End when no job waits, instead of looking again.
        stopping: Who listens to signals already; None to listen here.
        manager: Who is told of the start and the end; None for nobody.
        timer: What time it is; None for the time of this machine.

    Raises:
        StoreRefusedError: A store refused, or does not answer with `once`.
        JobQueueError: With `once`: the queue stopped answering.
    """
    if stopping is None:
        stopping = Stopping()
        with stopping.listening():
            return await work(alexandria, worker_id, once=once, stopping=stopping, manager=manager, timer=timer)
    rules = alexandria.work_rules(worker_id, stop=stopping.event, timer=timer)
    manager = manager or ServiceManager({})
    await _verify_stores(alexandria, rules, manager, once=once)
    manager.say("READY=1", "STATUS=waiting for jobs")
    attempts = 0
    try:
        if not stopping.event.is_set():
            attempts = await work_off_queue(
                rules,
                polling=_polling(alexandria.settings, rules.timer),
                once=once,
                work=_with_log_context,
                stores_answer=lambda: _wait_for_stores(alexandria, rules),
            )
    finally:
        manager.say("STOPPING=1")
        try:
            async with asyncio.timeout(LEAVE_S):
                await rules.presence.leave()
        except TimeoutError:
            logger.warning("Offline could not be put up in %g s; the board says so by itself later", LEAVE_S)
        logger.info("worker stopped", extra={"attempts": attempts})
    return attempts


async def _with_log_context(claim: Claim, rules: WorkRules) -> WorkedOff:
    with log_context(job_id=claim.job.id, repo=claim.job.repo.key, attempt=claim.job.attempt):
        return await work_off(claim, rules)


def _polling(settings: Settings, timer: Timer) -> Polling:
    interval_s, idle_most_s = settings.poll_interval_seconds, settings.poll_idle_max_seconds
    if not settings.upstash_redis_rest_url:  # whoever runs the queue does not count commands
        idle_most_s = interval_s
    return Polling(timer, interval_s=interval_s, idle_most_s=idle_most_s)


def idle_commands_a_month(settings: Settings) -> int:
    """Return how many commands an idle worker sends to a metered queue in 30 days, polls and presence.

    A poll is one command; a sign of life too, but twice an hour it is a script of four; the server's
    time is asked for every ten minutes.
    """
    an_hour = 3600 / settings.poll_idle_max_seconds + 3600 / settings.presence_seconds + 2 * 3 + 6
    return round(an_hour * _HOURS_A_MONTH)


async def _verify_stores(alexandria: Alexandria, rules: WorkRules, manager: ServiceManager, *, once: bool) -> None:
    """Return when every store has answered; wait for those that cannot be reached.

    Raises:
        StoreRefusedError: One refused, or, with `once`, cannot be reached.
    """
    backoff = Backoff(rules.timer)
    waiting = {"queue", "catalog", "vectors"}
    while not rules.stop.is_set():
        faults = await _faults_of(alexandria, waiting)
        refused = [name for name, error in faults.items() if once or not isinstance(error, _UNREACHABLE)]
        if refused:
            raise StoreRefusedError([f"{name}: {faults[name]}" for name in sorted(refused)])
        if not faults:
            logger.info("every store answers")
            return
        waiting = set(faults)
        wait_s = backoff.failed()
        for name, error in faults.items():
            logger.warning("%s cannot be reached yet: %s", name, error, extra={"again_in_s": round(wait_s, 1)})
        # Up, as far as its manager is concerned: to be started anew would not bring the store back.
        manager.say("READY=1", "STATUS=waiting for " + ", ".join(sorted(waiting)))
        await pause(rules.timer, wait_s, until=rules.stop)


async def _wait_for_stores(alexandria: Alexandria, rules: WorkRules) -> None:
    """Return when catalog and vector store answer again, or the worker shall stop."""
    backoff = Backoff(rules.timer)
    while not rules.stop.is_set():
        faults = await _faults_of(alexandria, {"catalog", "vectors"})
        if not faults:
            return
        wait_s = backoff.failed()
        for name, error in faults.items():
            logger.warning("no job is taken, %s is away: %s", name, error, extra={"again_in_s": round(wait_s, 1)})
        await pause(rules.timer, wait_s, until=rules.stop)
        await rules.presence.refresh()


async def _faults_of(alexandria: ControlPlane, names: set[str]) -> dict[str, AlexandriaError]:
    faults = {}
    for name in sorted(names):
        try:
            await getattr(alexandria, name).check()
        except AlexandriaError as error:
            faults[name] = error
    return faults


def describe_stores(opened: ControlPlane) -> dict[str, object]:
    """Return which adapters are used and the hosts that they speak to, without any credentials."""
    settings = opened.settings
    found: dict[str, object] = {
        name: type(getattr(opened, name)).__name__ for name in ("queue", "board", "catalog", "vectors")
    }
    for name in ("upstash_redis_rest_url", "redis_url", "qdrant_url", "database_url"):
        value = getattr(settings, name)
        host = urlsplit(value.get_secret_value() if isinstance(value, SecretStr) else value).hostname
        if host:
            found[f"{name.removesuffix('_url').removesuffix('_rest')}_host"] = host
    return {"mode": str(settings.mode), "data": str(settings.data_dir), **found}


async def serve(settings: Settings, *, once: bool) -> int:
    """Run a worker with `settings` from its first line in the log to its last; return the attempts it made.

    Raises:
        AlexandriaError: It cannot work: one of its branches says why.
    """
    manager, stopping = ServiceManager(), Stopping()
    worker_id = settings.worker_id or default_worker_id()
    with log_context(worker_id=worker_id), stopping.listening():
        async with open_for(settings) as opened, manager.watchdog():
            if not isinstance(opened, Alexandria):
                raise CannotIndexError("a worker reads code, which MODE=CLOUD cannot: use MODE=EDGE")
            _say_line("worker started", {**describe_stores(opened), "pid": os.getpid()})
            _say_line("this machine", await asyncio.to_thread(describe_machine))
            _say_line("training", {"device": settings.device, **await asyncio.to_thread(_describe_training)})
            if settings.upstash_redis_rest_url:
                _say_line("idle use of the metered queue", {"commands_a_month": idle_commands_a_month(settings)})
            return await work(opened, worker_id, once=once, stopping=stopping, manager=manager)


def _describe_training() -> dict[str, object]:
    try:
        return describe_training()
    except ImportError as error:
        raise CannotIndexError(f"PyTorch cannot be loaded: {error}; install requirements-edge.txt") from error


def _say_line(event: str, facts: Mapping[str, object]) -> None:
    logger.info(event, extra=dict(facts))


def run_worker(*, once: bool = False) -> int:
    """Run a worker over what the environment names; return its exit code, with one line in the log for each fault."""
    try:
        settings = Settings.load()
        configure_logs(settings)
        asyncio.run(serve(settings, once=once))
    except SettingsError as error:
        configure_logs(Settings.model_construct())  # what is set is wrong, so the defaults say so
        faults = error.faults
    except StoreRefusedError as error:
        faults = error.faults
    except AlexandriaError as error:
        faults = (str(error),)
    else:
        return 0
    for fault in faults:
        logger.error("the worker cannot work: %s", fault)
    return 1


def check_worker() -> int:
    """Check what a worker needs, and train four files; print what was found and return the exit code."""
    findings = [*asyncio.run(examine()), asyncio.run(train_a_sample())]
    for finding in findings:
        hint = f" — {finding.hint}" if finding.hint else ""
        typer.echo(plain(f"{finding.verdict:<8} {finding.name:<14} {finding.detail}{hint}").plain)
    return int(any(finding.verdict is Verdict.FAULT for finding in findings))


OnceOption = Annotated[bool, typer.Option("--once", help="End when no job waits.")]
TestOption = Annotated[
    bool, typer.Option("--test", help="Check settings, stores, parsers and training, and end; 1 if one will not do.")
]


def worker(once: OnceOption = False, test: TestOption = False) -> None:
    """Index what is in the queue, one job after the other, until Ctrl-C (which gives the job back)."""
    raise typer.Exit(check_worker() if test else run_worker(once=once))


def main() -> None:
    """Run `python worker.py`: the same as `alexandria worker`."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(worker)
    try:
        app()
    except KeyboardInterrupt:  # before the handlers are in place
        raise SystemExit(130) from None
