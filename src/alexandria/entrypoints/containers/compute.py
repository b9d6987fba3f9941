"""What indexes: sources, parser and embedder, the same in LOCAL and in EDGE."""

from __future__ import annotations

import gc
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from dependency_injector import containers, providers

from alexandria.adapters.git import DirectorySource, GitSource, SourceLimits
from alexandria.adapters.pyg import spawn
from alexandria.adapters.pyg.settings import Device, Method, Node2VecSettings, changed_by
from alexandria.adapters.system.clock import SystemClock
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import collector_paused
from alexandria.entrypoints.settings import Settings
from alexandria.ports.graph_embedder import GraphEmbedder


def scratch_dir() -> Path:
    """Return where clones are kept while they are read."""
    return Path(tempfile.gettempdir())


def load_embedder(method: Method, changes: str, training: str, device: Device, threads: int) -> GraphEmbedder:
    """Import PyTorch, or wait for a process that does, which takes seconds, and make the embedder; for a thread.

    Args:
        method: How vectors are made.
        changes: What one call changes of the training, as `TRAINING`; it wins.
        training: What the settings change of it.
        device: What to train on.
        threads: CPU threads.
    """
    settings = changed_by(
        changes, changed_by(training, Node2VecSettings(method=method, device=device, threads=threads))
    )
    if (process := spawn.take()) is not None:
        apart: GraphEmbedder = import_module("alexandria.adapters.pyg.process").ProcessEmbedder(settings, process)
        return apart
    with collector_paused():
        is_first = "torch" not in sys.modules
        pyg = import_module("alexandria.adapters.pyg.embedder")
        if is_first and gc.get_freeze_count():
            # Our program froze what it had loaded. What PyTorch brings is a million values more, that stay as long; in
            # another's program it is not for us to say which values the collector passes over.
            gc.freeze()
    embedder: GraphEmbedder = pyg.Node2VecEmbedder(settings)
    return embedder


class ComputeContainer(containers.DeclarativeContainer):
    """The adapters that read code and learn from it."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)

    clock = providers.Singleton(SystemClock)
    limits = providers.Singleton(
        SourceLimits,
        clone_timeout_s=settings.provided.clone_timeout_seconds,
        clone_bytes=settings.provided.clone_max_bytes,
        files=settings.provided.repo_max_files,
    )
    local_source = providers.Singleton(DirectorySource, limits=limits, scratch=providers.Callable(scratch_dir))
    remote_source = providers.Singleton(
        GitSource,
        limits=limits,
        scratch=providers.Callable(scratch_dir),
        mirror=settings.provided.repo_mirror,
        proxy=settings.provided.repo_proxy,
        ca_file=settings.provided.repo_ca_file,
    )
    parser = providers.Singleton(TreeSitterParser, max_file_bytes=settings.provided.source_max_bytes)
    make_embedder = providers.Callable(
        load_embedder,
        training=settings.provided.training,
        device=settings.provided.device,
        threads=settings.provided.threads,
    )
