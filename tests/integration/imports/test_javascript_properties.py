"""JavaScript and TypeScript: what holds for every tree, every content and every manifest."""

from __future__ import annotations

import json
import posixpath

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.tree_sitter.javascript import read
from alexandria.domain.imports import RepoTree, Resolved, SourceFacts, javascript
from alexandria.domain.imports.facts import ImportForm, ImportStatement
from alexandria.domain.imports.javascript.files import join
from alexandria.domain.language import Language, language_of
from support.repos import edges_of, outcomes_of

NAMES = st.sampled_from(["a", "b", "c", "index", "x.y", "[id]", "_", "Ä"])
EXTENSIONS = st.sampled_from([".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"])
FOLDERS = st.lists(NAMES, max_size=3).map("/".join)
FORMS = {
    "import {{ n }} from '{}'": "import",
    'import "{}"': "import",
    "export * from '{}'": "reexport",
    "const n = require(`{}`)": "import",
    "n = import('{}')": "import",
}


@st.composite
def repositories(draw: st.DrawFn) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Draw a tree of files whose imports spell out what they mean, and the edges that they make.

    One stem a directory and no file beside a directory of its name, so that every way to write a
    target is unambiguous; that ambiguity has its own tests.
    """
    folders = draw(st.lists(FOLDERS, min_size=1, max_size=4, unique=True))
    stems = draw(st.lists(st.tuples(st.sampled_from(folders), NAMES, EXTENSIONS), min_size=2, max_size=8))
    chosen: dict[str, str] = {}
    for folder, name, extension in stems:
        stem = posixpath.join("src", folder, name)
        if not any(other.startswith(stem + "/") or stem.startswith(other + "/") for other in chosen):
            chosen.setdefault(stem, extension)
    paths = [stem + extension for stem, extension in chosen.items()]
    files = dict.fromkeys(paths, "")
    rank = {"import": 0, "reexport": 1}
    edges: dict[tuple[str, str], str] = {}
    for importer, imported in draw(st.lists(st.tuples(st.sampled_from(paths), st.sampled_from(paths)), max_size=10)):
        form = draw(st.sampled_from(sorted(FORMS)))
        specifier = draw(st.sampled_from(spellings(importer, imported)))
        files[importer] += form.format(specifier) + "\n"
        if importer != imported:
            kind = min(FORMS[form], edges.get((importer, imported), "reexport"), key=rank.__getitem__)
            edges[importer, imported] = kind
    return files, edges


def spellings(importer: str, imported: str) -> list[str]:
    """Return every way in which `importer` may write `imported`: relative, or by the alias `@/` of `src/`."""
    stem, extension = posixpath.splitext(imported)
    written = [stem, imported]
    written += {".ts": [stem + ".js"], ".tsx": [stem + ".js", stem + ".jsx"], ".mts": [stem + ".mjs"]}.get(
        extension, []
    )
    if posixpath.basename(stem) == "index":
        written.append(posixpath.dirname(imported))
    relative = [posixpath.relpath(path, posixpath.dirname(importer)) for path in written]
    dotted = [path if path.startswith(".") else f"./{path}" for path in relative]
    return dotted + ["@" + path.removeprefix("src") for path in written]


@settings(max_examples=200)
@given(repositories())
def test_edges_are_those_that_the_imports_were_written_for(
    repository: tuple[dict[str, str], dict[tuple[str, str], str]],
) -> None:
    files, edges = repository
    config = '{"compilerOptions": {"paths": {"@/*": ["./src/*"], "@": ["./src"]}}}'
    assert edges_of({**files, "tsconfig.json": config}) == edges


FRAGMENTS = st.sampled_from(
    [
        *rb"""import export from require( import( './a' " ' ` ${ } { ) type as * , /* */ // <T> = @flow""".split(b" "),
        *(b" ", b"\n", b"\r", b"\0", b"\xff\xfe", b"\xe9"),
    ]
)


@settings(max_examples=300)
@given(
    content=st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=30).map(b"".join)),
    path=EXTENSIONS.map("file{}".format) | st.just("file.d.ts"),
)
def test_reading_never_raises_and_names_only_lines_of_the_file(content: bytes, path: str) -> None:
    language = language_of(path)
    assert language is not None
    facts = read(path, language, content)
    assert all(1 <= statement.line <= content.count(b"\n") + content.count(b"\r") + 1 for statement in facts.imports)
    assert facts == read(path, language, content)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["./*", "..", "*", "src", "a", "#a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["*", "@/*", ".", "./*", "import"]), inner)
    ),
    max_leaves=6,
)
TSCONFIG = st.fixed_dictionaries(
    {},
    optional={
        "extends": JSON,
        "files": JSON,
        "include": JSON,
        "exclude": JSON,
        "references": JSON | st.lists(st.fixed_dictionaries({"path": JSON})),
        "compilerOptions": JSON
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["paths", "baseUrl", "rootDirs", "rootDir", "outDir", "customConditions"], JSON)
        ),
    },
)
PACKAGE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["name", "main", "types", "source", "exports", "imports", "workspaces", "dependencies"], JSON
    ),
)
MANIFESTS = st.one_of(TSCONFIG.map(json.dumps), PACKAGE.map(json.dumps), st.text(max_size=60))
SPECIFIERS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["./a", "..", "../..", "a", "a/b", "@/a", "#a", "@a/b", "@", "/", "a:", "?", "!", "./a?b!c", "%00", ""]
    ),
)
MANIFEST_PATHS = [
    "tsconfig.json",
    "a/tsconfig.json",
    "package.json",
    "a/package.json",
    "pnpm-workspace.yaml",
    "lerna.json",
    "rush.json",
    "a/vite.config.ts",
    "base.json",
]


@settings(max_examples=150)
@given(
    manifests=st.dictionaries(st.sampled_from(MANIFEST_PATHS), MANIFESTS),
    paths=st.sets(
        st.sampled_from(
            ["a.ts", "a/index.ts", "a/b.d.ts", "src/a.js", "a/src/b/c.tsx", "src", "*", "node_modules/a.js"]
        )
    ),
    specifiers=st.lists(SPECIFIERS, max_size=8),
    importer=st.sampled_from(["a/main.ts", "main.d.ts", "x/y/z.cjs"]),
)
def test_resolution_never_raises_and_means_only_files_of_the_repository(
    manifests: dict[str, str], paths: set[str], specifiers: list[str], importer: str
) -> None:
    tree = RepoTree(frozenset({*manifests, *paths, importer}))
    while wanted := javascript.wanted_manifests(tree):
        assert wanted <= tree.paths
        assert not wanted & tree.manifests.keys()
        tree = RepoTree(tree.paths, {**tree.manifests, **{path: manifests.get(path, "") for path in wanted}})
    forms = list(ImportForm)
    statements = tuple(ImportStatement(i + 1, s, forms[i % len(forms)]) for i, s in enumerate(specifiers))
    file = javascript.resolver(tree)(SourceFacts(importer, Language.TYPESCRIPT, imports=statements))
    assert [(outcome.line, outcome.specifier) for outcome in file.outcomes] == [
        (s.line, s.specifier) for s in statements
    ]
    for outcome in file.outcomes:
        assert set(outcome.targets) <= tree.paths
        assert bool(outcome.targets) == (outcome.resolved is Resolved.INSIDE)
        assert outcome.reason


PLACES = ["", "a", "a/b", "a/c", "d", "d/e/f"]
NAMED = st.sampled_from(["p", "q", "@s/p"])
LINKS = st.sampled_from(["1", "file:../b", "link:./x", "workspace:q@*"])


@settings(max_examples=200)
@given(
    packages=st.dictionaries(
        st.sampled_from(PLACES),
        st.fixed_dictionaries(
            {},
            optional={
                "name": NAMED,
                "exports": st.sampled_from(["./x.js", {"./x": "./x.js", "./*": "./*"}]),
                "imports": st.just({"#x": "./x.js"}),
                "workspaces": st.just(["a/*", "d/**"]),
                "dependencies": st.dictionaries(NAMED, LINKS),
            },
        ),
    ),
    configurations=st.dictionaries(
        st.sampled_from(PLACES),
        st.sampled_from(["alias: { p: './x.js', '@': '.' }", "modules: ['b', 'e/f']", "plugins: []"]),
    ),
    sources=st.sets(st.sampled_from([f"{place}/{name}".lstrip("/") for place in PLACES for name in ("x.js", "y.ts")])),
    specifiers=st.lists(
        st.sampled_from(["p", "p/x", "q", "@s/p", "@/x", "#x", "./x", "..", "x", "raw!./x", "./x?raw", "y/z!p"]),
        min_size=1,
        max_size=6,
    ),
)
def test_what_a_specifier_means_does_not_depend_on_what_was_asked_before(
    packages: dict[str, dict[str, object]], configurations: dict[str, str], sources: set[str], specifiers: list[str]
) -> None:
    manifests = {f"{place}/package.json".lstrip("/"): json.dumps(content) for place, content in packages.items()}
    manifests |= {f"{place}/webpack.config.js".lstrip("/"): text for place, text in configurations.items()}
    importers = [f"{place}/main.{extension}".lstrip("/") for place in PLACES for extension in ("js", "d.ts")]
    tree = RepoTree(frozenset({*manifests, *sources, *importers}), manifests)
    statements = tuple(ImportStatement(1, specifier) for specifier in specifiers)
    shared = javascript.resolver(tree)
    for importer in importers:
        facts = SourceFacts(importer, Language.JAVASCRIPT, imports=statements)
        assert shared(facts) == javascript.resolver(tree)(facts)


@settings(max_examples=300)
@given(
    directory=st.lists(st.sampled_from(["a", "b.c", ".d"]), max_size=3).map("/".join),
    relative=st.lists(st.sampled_from(["a", ".", "..", "", ".d", "x.js"]), min_size=1, max_size=4).map("/".join),
)
def test_a_relative_path_is_joined_as_the_system_would(directory: str, relative: str) -> None:
    normal = posixpath.normpath(f"/root/{directory}/{relative}" if relative else f"/root/{directory}")
    inside = not posixpath.relpath(f"/root/{directory}/{relative}", "/root").startswith("..")
    climbed = any(
        posixpath.relpath(f"/root/{directory}/{'/'.join(relative.split('/')[:i])}", "/root").startswith("..")
        for i in range(1, len(relative.split("/")) + 1)
    )
    if inside and not climbed:
        assert join(directory, relative) == normal.removeprefix("/root").lstrip("/")
    else:
        assert join(directory, relative) is None


@settings(max_examples=100)
@given(text=st.text(alphabet="{}[]:,'\"`/*alisroutendf.@$ \n", max_size=200))
def test_configurations_of_bundlers_may_hold_anything(text: str) -> None:
    files = {"vite.config.js": "alias: {" + text, "main.js": "import './a'; import '@/a'", "a.js": ""}
    outcomes = outcomes_of(files)["main.js"].outcomes
    assert outcomes[0].targets == ("a.js",)
