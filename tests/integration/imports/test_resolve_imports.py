"""The rules of all languages together, asked while the files come."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import RepoTree, SourceFacts, resolve_imports
from support.repos import facts_of

FILES = {
    "lib/pkg/__init__.py": "from pkg import a\n",
    "lib/pkg/a.py": "import pkg.b, pkg.gone, elsewhere\nfrom vendor.tool import run\n",
    "lib/pkg/b.py": "from vendor import tool\n",
    "vendor/tool.py": "",
    "web/index.ts": "import {a} from './a'; export * from './b'; import './gone'\n",
    "web/a.ts": "import type {B} from './b'; require('left-pad'); import(name)\n",
    "web/b.js": "import './index'\n",
    "java/one/A.java": "package one; import two.B; import two.Gone; class A { C c; B b; Gone g; }\n",
    "java/one/C.java": "package one; import two.*; class C extends B {}\n",
    "java/two/B.java": "package two; public class B { one.A a; }\n",
    "java/old/B.java": "package two; public class B {}\n",
    "go.mod": "module example.org/m\n",
    "main.go": 'package main\nimport "example.org/m/x"\nfunc main() { x.F(); x.G(); helper() }\n',
    "helper.go": "package main\nfunc helper() {}\n",
    "x/f_linux.go": "package x\nfunc F() {}\n",
    "x/f_darwin.go": "package x\nfunc F() {}\n",
}
TREE = RepoTree(frozenset(FILES), {"go.mod": FILES["go.mod"]})
FACTS = facts_of(FILES)
GRAPH = DependencyGraph.from_outcomes({file.path: file.language for file in FACTS}, resolve_imports(TREE, FACTS))


@settings(max_examples=200)
@given(facts=st.permutations(FACTS))
def test_what_is_said_of_a_file_does_not_depend_on_the_order_in_which_files_come(facts: list[SourceFacts]) -> None:
    outcomes = list(resolve_imports(TREE, iter(facts)))
    assert sorted(outcomes) == sorted(resolve_imports(TREE, FACTS))
    graph = DependencyGraph.from_outcomes({file.path: file.language for file in facts}, outcomes)
    assert graph.files == GRAPH.files
    assert graph.edges.tolist() == GRAPH.edges.tolist()
    assert graph.kinds.tolist() == GRAPH.kinds.tolist()
    assert graph.counts == GRAPH.counts
    assert graph.unresolved == GRAPH.unresolved


def test_the_repository_of_this_page_has_edges_and_gaps_of_every_language() -> None:
    importers = {GRAPH.languages[importer] for importer in GRAPH.edges[0].tolist()}
    assert importers == {file.language for file in FACTS}
    assert {gap.path for gap in GRAPH.unresolved} == {"lib/pkg/a.py", "web/index.ts", "java/one/A.java", "main.go"}


def test_javascript_is_resolved_as_it_comes_and_the_others_when_all_are_there() -> None:
    drawn: list[str] = []

    def coming() -> Iterator[SourceFacts]:
        for file in FACTS:
            drawn.append(file.path)
            yield file

    seen = [(outcome.path, drawn[-1]) for outcome in resolve_imports(TREE, coming())]
    assert len(seen) == len(FACTS)
    for path, last in seen:
        assert last == (path if path.startswith("web/") else FACTS[-1].path)
