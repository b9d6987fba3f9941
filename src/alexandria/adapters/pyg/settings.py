"""What can be set about a training. Nothing here imports torch, so settings are cheap to read and to check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from alexandria.domain.embedding import DIMENSION
from alexandria.domain.imports.outcome import EdgeKind

Method = Literal["node2vec", "prone"]
Device = Literal["auto", "cpu", "cuda"]

ALL_KINDS = frozenset(EdgeKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node2VecSettings:
    """How vectors are trained; the defaults are those of node2vec [1]_ with a start that converges.

    Where they differ from it (`learning_rate`, `window_decay`, `in_degree_exponent`, `negative_weight`), ADR 15 has the
    measurements.

    Attributes:
        method: `node2vec`, or `prone` for the closed form, which has no epochs and no walks.
        dimension: Length of a vector.
        walk_length: Nodes of one walk, the start included; at least `context_size`.
        context_size: Nodes of one window, its first node included; at least 2.
        walks_per_node: Walks that start at each linked node in each epoch.
        epochs: Passes over all walks.
        p: Return parameter: how little a walk likes to go straight back. Above 0.
        q: In-out parameter: how little a walk likes to leave the neighbourhood it came from. Above 0.
        learning_rate: Step of Adam at the start; it falls evenly to a tenth.
        window_decay: What a pair of a walk weighs for each step that it is further apart than neighbours, in (0, 1].
            At 1 all pairs of a window count alike, as in node2vec. word2vec reaches the same end by drawing the
            length of each window [2]_; files that change together are mostly one or two imports apart.
        in_degree_exponent: A walk takes an import in proportion to 1 ÷ (files that import the same file) to this
            power; at least 0, and 0 takes all alike. Two files that share a module that all import have little in
            common; as a damping of popular neighbours it is that of Adamic & Adar and its successors [3]_.
        negative_weight: What the mean over pairs drawn at random weighs beside the mean over pairs of walks. It is
            the k of skip-gram with k negatives, so the dot products are shifted by -log k [4]_. With few pairs
            that weigh much, a 1 pushes files apart that a held-out edge would join.
        initial_scale: Standard deviation of the normal start. PyG's 1.0 starts with angles so firm that
            ten epochs on a few hundred files cannot turn them.
        walks_per_step: Walks of one optimiser step, at most; None chooses by the size of the graph.
        edge_kinds: Kinds of edges to train on; files with no edge of these kinds are isolated.
        edge_weights: (kind, weight) pairs; a walk takes an edge in proportion to its weight. Kinds that are
            not named weigh 1.
        seeds: How many trainings are combined into one result; more of them agree better between two runs, and
            take as many times as long.
        device: `auto` takes a GPU only where it pays.
        threads: Of the trainings of `seeds`, how many run at once on the CPU. One training is one thread: its steps
            are too small to share. The result does not depend on it.
        held_out: Whether edges are held back to measure `edge_auc`, where the graph has enough of them.

    Raises:
        ValueError: A value is out of its range.

    References:
        .. [1] Grover & Leskovec, node2vec, arXiv:1607.00653.
        .. [2] Levy, Goldberg & Dagan, Improving distributional similarity, TACL 2015, section 3.1.
        .. [3] Zhou, Lü & Zhang, Predicting missing links via local information, arXiv:0901.0553.
        .. [4] Levy & Goldberg, Neural word embedding as implicit matrix factorization, NeurIPS 2014.
    """

    method: Method = "node2vec"
    dimension: int = DIMENSION
    walk_length: int = 20
    context_size: int = 10
    walks_per_node: int = 10
    epochs: int = 10
    p: float = 1.0
    q: float = 1.0
    learning_rate: float = 0.02
    window_decay: float = 0.5
    in_degree_exponent: float = 0.5
    negative_weight: float = 0.04
    initial_scale: float = 0.1
    walks_per_step: int | None = None
    edge_kinds: frozenset[EdgeKind] = field(default=ALL_KINDS)
    edge_weights: tuple[tuple[EdgeKind, float], ...] = ()
    seeds: int = 1
    device: Device = "auto"
    threads: int = 1
    held_out: bool = True

    def __post_init__(self) -> None:
        for name in ("dimension", "walks_per_node", "epochs", "seeds", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.context_size < 2:
            raise ValueError(f"context_size must be at least 2, not {self.context_size}")
        if self.walk_length < self.context_size:
            raise ValueError(f"walk_length {self.walk_length} is shorter than context_size {self.context_size}")
        for name in ("p", "q", "learning_rate", "negative_weight", "initial_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        if not 0 < self.window_decay <= 1:
            raise ValueError(f"window_decay must be above 0 and at most 1, not {self.window_decay}")
        if not 0 <= self.in_degree_exponent < float("inf"):
            raise ValueError(f"in_degree_exponent must be at least 0 and finite, not {self.in_degree_exponent}")
        if self.walks_per_step is not None and self.walks_per_step < 1:
            raise ValueError(f"walks_per_step must be at least 1, not {self.walks_per_step}")
        if any(not 0 < weight < float("inf") for _, weight in self.edge_weights):
            raise ValueError("edge weights must be above 0 and finite; leave a kind out of edge_kinds to drop it")


def changed_by(text: str, settings: Node2VecSettings) -> Node2VecSettings:
    """Return `settings` with what a person writes: `name=value` pairs with commas between, as `epochs=20,p=0.5`.

    `edge_kinds` are names with `+` between (`import+implicit`), `edge_weights` are `name:weight` with `+` between
    (`implicit:0.5+reexport:2`). Empty text changes nothing.

    Raises:
        ValueError: A name is not known or stands twice, a value is not of its type, or out of its range.
    """
    values: dict[str, object] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if name not in _READERS:
            raise ValueError(f"{name!r} is none of {', '.join(_READERS)}")
        if not equals or not value:
            raise ValueError(f"{name} has no value: write {name}=…")
        if name in values:
            raise ValueError(f"{name} stands there twice")
        try:
            values[name] = _READERS[name](value)
        except ValueError as error:
            raise ValueError(f"{name}={value}: {error}") from None
    return replace(settings, **values)  # type: ignore[arg-type]  # each reader gives the type of its field


def changes_of(settings: Node2VecSettings) -> str:
    """Return what `changed_by` would be given to come from the defaults to `settings`; empty if nothing."""
    defaults = Node2VecSettings()
    values = {name: getattr(settings, name) for name in _READERS}
    return ",".join(f"{name}={_written(value)}" for name, value in values.items() if value != getattr(defaults, name))


def _written(value: object) -> str:
    if isinstance(value, frozenset):
        return "+".join(kind.name.lower() for kind in sorted(value))
    if isinstance(value, tuple):
        return "+".join(f"{kind.name.lower()}:{weight}" for kind, weight in value)
    return str(value)


def _edge_kinds(text: str) -> frozenset[EdgeKind]:
    return frozenset(_edge_kind(name) for name in text.split("+"))


def _edge_weights(text: str) -> tuple[tuple[EdgeKind, float], ...]:
    pairs = [part.partition(":") for part in text.split("+")]
    if bare := [name for name, colon, _ in pairs if not colon]:
        raise ValueError(f"{bare[0]} has no weight: write {bare[0]}:0.5")
    return tuple((_edge_kind(name), float(weight)) for name, _, weight in pairs)


def _edge_kind(name: str) -> EdgeKind:
    kinds = {kind.name.lower(): kind for kind in EdgeKind}
    if name.strip().lower() not in kinds:
        raise ValueError(f"{name.strip()!r} is none of the kinds {', '.join(kinds)}")
    return kinds[name.strip().lower()]


_READERS: dict[str, Callable[[str], object]] = {
    "walk_length": int,
    "context_size": int,
    "walks_per_node": int,
    "epochs": int,
    "seeds": int,
    "p": float,
    "q": float,
    "learning_rate": float,
    "window_decay": float,
    "in_degree_exponent": float,
    "negative_weight": float,
    "initial_scale": float,
    "walks_per_step": int,
    "edge_kinds": _edge_kinds,
    "edge_weights": _edge_weights,
}
"""What a person may change: not `dimension`, which is that of the stores, nor what has a setting of its own."""
