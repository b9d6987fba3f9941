"""What a person may change of the training: read from text, written back, refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.adapters.pyg.settings import Node2VecSettings, changed_by, changes_of
from alexandria.domain.imports.outcome import EdgeKind

COUNTS = st.integers(1, 1000)
POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
SETTINGS = st.integers(2, 50).flatmap(
    lambda context: st.builds(
        Node2VecSettings,
        walk_length=st.integers(context, 200),
        context_size=st.just(context),
        walks_per_node=COUNTS,
        epochs=COUNTS,
        seeds=COUNTS,
        p=POSITIVE,
        q=POSITIVE,
        learning_rate=POSITIVE,
        window_decay=st.floats(min_value=1e-6, max_value=1.0),
        in_degree_exponent=st.floats(min_value=0, max_value=10),
        negative_weight=POSITIVE,
        initial_scale=POSITIVE,
        walks_per_step=COUNTS,
        edge_kinds=st.sets(st.sampled_from(EdgeKind), min_size=1).map(frozenset),
        edge_weights=st.lists(st.tuples(st.sampled_from(EdgeKind), POSITIVE), max_size=3).map(tuple),
    )
)


@given(SETTINGS)
def test_what_is_written_of_settings_gives_them_back(settings: Node2VecSettings) -> None:
    assert changed_by(changes_of(settings), Node2VecSettings()) == settings


def test_nothing_written_changes_nothing() -> None:
    settings = Node2VecSettings(epochs=7)
    assert changed_by("", settings) == settings == changed_by(" , ", settings)
    assert changes_of(Node2VecSettings()) == ""


def test_names_and_values_may_have_space_around_them() -> None:
    changed = changed_by(
        " epochs = 20 , edge_kinds = import + implicit,edge_weights=implicit : 0.5 ", Node2VecSettings()
    )
    assert changed.epochs == 20
    assert changed.edge_kinds == {EdgeKind.IMPORT, EdgeKind.IMPLICIT}
    assert changed.edge_weights == ((EdgeKind.IMPLICIT, 0.5),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch=20", "'epoch' is none of walk_length"),
        ("dimension=128", "'dimension' is none of"),
        ("epochs", "epochs has no value"),
        ("epochs=", "epochs has no value"),
        ("epochs=many", "epochs=many: invalid literal"),
        ("epochs=2,epochs=3", "epochs stands there twice"),
        ("epochs=0", "epochs must be at least 1, not 0"),
        ("p=nan", "p must be above 0 and finite"),
        ("walk_length=3", "walk_length 3 is shorter than context_size 10"),
        ("edge_kinds=call", "'call' is none of the kinds import, reexport, type_only, implicit"),
        ("edge_weights=implicit", "implicit has no weight"),
        ("edge_weights=implicit:-1", "edge weights must be above 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        changed_by(text, Node2VecSettings())
