"""Generated Go repositories, with the edges that their generator knows they have."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.tree_sitter.go import read
from alexandria.domain.imports import RepoTree, SourceFacts, resolve_imports, wanted_manifests
from alexandria.domain.imports.facts import ImportStatement, ReadStatus
from alexandria.domain.language import Language
from support.repos import edges_of, facts_of

MODULES = {
    "": "example.com/root",
    "sub": "example.com/root/sub",
    "v2": "example.com/root/v2",
    "libs/x": "github.com/you/x",
    "app": "app",
}
RENAMED = "old.example.com/y"  # what a `replace` of the module in "" calls the one in libs/x
DIRECTORIES = {"": "base", "p": "p", "internal/q": "queue", "go-r": "r"}
NAMES = ("N0", "N1", "N2", "Ärger")
USES = (
    "var _ = {0}",
    "func u{1}() {{ {0}() }}",
    "func u{1}() {{ if x := {0}; x {{ {0}() }} }}",
    "type t{1} struct {{ f *{0} }}",
    "func (r r{1}) m(a map[int]{0}) {{}}",
    "var v{1} = []{0}{{}}",
    "func g{1}[T {0}]() {{}}",
    "type i{1} interface {{ m({0}) error }}",
    "func u{1}() {{ _ = t{{k: {0}}} }}",
)
NO_USES = (
    "func l({0} int) {{ _ = {0}; {0}.{1}() }}",
    "func l() {{ {0} := 1; _ = {0}; func() {{ {0}.{1}() }}() }}",
    "func l() {{ for _, {0} := range x {{ {0}.{1}() }} }}",
    "func l() {{ x.{0}.{1}(); _ = t{{{1}: 1}} }}",
    "func l[{1} any](a {1}) (b {1}) {{ type {0} {1}; var c {0}; return }}",
    "func l() {{ {1}: for {{ break {1} }} }}",
    "// {0}.{1}\nfunc l() {{ _ = `{0}.{1}` }}",
    "type l struct {{ {0}, {1} int }}",
)


@dataclass
class File:
    package: Package
    name: str
    external: bool = False
    declares: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)

    @property
    def is_test(self) -> bool:
        return self.name.endswith("_test.go")

    @property
    def path(self) -> str:
        return "/".join(part for part in (self.package.directory, self.name) if part)

    def text(self) -> str:
        clause = self.package.clause + ("_test" if self.external else "")
        declared = "".join("func init() {}\n" if name == "init" else f"var {name} int\n" for name in self.declares)
        return f"package {clause}\n" + "".join(self.lines) + declared + "".join(self.body)


@dataclass
class Package:
    module: str
    below: str
    clause: str
    files: list[File] = field(default_factory=list)

    @property
    def directory(self) -> str:
        return "/".join(part for part in (self.module, self.below) if part)

    def path_for(self, importer: File) -> str:
        prefix = MODULES[self.module]
        if importer.package.module == "" and self.module == "libs/x":
            prefix = RENAMED
        return f"{prefix}/{self.below}" if self.below else prefix

    def declaring(self, name: str, importer: File) -> list[File]:
        """The files that declare a name for an importer, inside the package or outside of it."""
        tests_too = self is importer.package and importer.is_test
        return [
            file
            for file in self.files
            if name in file.declares and not file.external and (tests_too or not file.is_test)
        ]


@st.composite
def repositories(draw: st.DrawFn) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    modules = draw(st.lists(st.sampled_from(sorted(MODULES)), min_size=1, max_size=3, unique=True))
    packages = [
        Package(module, below, DIRECTORIES[below])
        for module in modules
        for below in draw(st.lists(st.sampled_from(sorted(DIRECTORIES)), min_size=1, max_size=3, unique=True))
    ]
    files = {f"{module}/go.mod".removeprefix("/"): f"module {MODULES[module]}\n" for module in modules}
    if "" in modules:
        files["go.mod"] += f"replace {RENAMED} v1.0.0 => ./libs/x\n"
    for package in packages:
        package.files.append(File(package, "f0.go"))
        for name in draw(st.lists(st.sampled_from(("f1.go", "f2_linux.go", "f3_test.go", "f4_test.go")), unique=True)):
            package.files.append(File(package, name, external=name == "f4_test.go"))
        for file in package.files:
            file.declares = draw(st.lists(st.sampled_from((*NAMES, "init")), max_size=2, unique=True))
    edges: dict[tuple[str, str], str] = {}
    for package in packages:
        for file in package.files:
            _use_the_package(draw, file, edges)
            _import(draw, file, packages, edges)
    return files | {file.path: file.text() for package in packages for file in package.files}, edges


def _edge(edges: dict[tuple[str, str], str], importer: File, imported: File, kind: str) -> None:
    if importer is not imported and edges.get((importer.path, imported.path)) != "import":
        edges[importer.path, imported.path] = kind


def _style(draw: st.DrawFn, file: File, use: str) -> None:
    number = f"{file.name.partition('.')[0]}_{len(file.body)}"
    file.body.append(draw(st.sampled_from(USES)).format(use, number) + "\n")


def _use_the_package(draw: st.DrawFn, file: File, edges: dict[tuple[str, str], str]) -> None:
    """Use bare names; those that the package does not declare are left in `file.free`."""
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        _style(draw, file, name)
        if name in file.declares:
            continue
        # There is one external test file a package here, so nobody else declares for it.
        declaring = [] if file.external else file.package.declaring(name, file)
        for imported in declaring:
            _edge(edges, file, imported, "implicit")
        if not declaring:
            file.free.append(name)


def _import(draw: st.DrawFn, file: File, packages: list[Package], edges: dict[tuple[str, str], str]) -> None:
    def reachable(package: Package) -> bool:
        if package is file.package and not file.external:
            return False
        # A module without a dot in its path is known in itself only.
        return package.module == file.package.module or package.module != "app"

    targets = [package for package in packages if reachable(package)]
    locals_: set[str] = set()
    for number, package in enumerate(
        draw(st.lists(st.sampled_from(targets), max_size=3, unique_by=id)) if targets else ()
    ):
        path = package.path_for(file)
        manner = draw(st.sampled_from(("plain", "plain", "alias", "blank", "dot")))
        if manner in ("blank", "dot"):
            file.lines.append(f'import {"_" if manner == "blank" else "."} "{path}"\n')
            for name in ("init",) if manner == "blank" else file.free:
                for imported in package.declaring(name, file):
                    _edge(edges, file, imported, "import")
            continue
        plain = manner == "plain" and package.clause not in locals_
        local = package.clause if plain else f"alias{number}"
        locals_.add(local)
        file.lines.append(f'import {"" if plain else local} "{path}"\n')
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
            _style(draw, file, f"{local}.{name}")
            for imported in package.declaring(name, file):
                _edge(edges, file, imported, "import")
        hidden = draw(st.sampled_from(NAMES))
        file.body.append(draw(st.sampled_from(NO_USES)).format(local, hidden) + "\n")


@settings(max_examples=300)
@given(repositories())
def test_generated_repositories_have_the_edges_they_were_made_with(
    made: tuple[dict[str, str], dict[tuple[str, str], str]],
) -> None:
    files, edges = made
    assert all(file.status is ReadStatus.READ for file in facts_of(files)), files
    assert edges_of(files) == edges


@settings(max_examples=100)
@given(repositories(), st.sampled_from(("\r\n", "\n\n", "\n// x\n")))
def test_line_ends_and_comments_change_no_edge(
    made: tuple[dict[str, str], dict[tuple[str, str], str]], line_end: str
) -> None:
    files, edges = made
    assert edges_of({path: text.replace("\n", line_end) for path, text in files.items()}) == edges


SOUP = """
package p import func type var const struct interface map chan if else for range switch select case default return
defer go goto := = . , ; : ( ) { } [ ] * & <- ... "a/b" `x` 'c' 1 _ x y Name init new new( make C .Name // /* */
<<<<<<< ======= >>>>>>> é
"""
TOKENS = st.sampled_from([*SOUP.split(), "\n", "\r\n", "\x00", "\ufeff"])


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.lists(TOKENS, max_size=60).map(lambda words: " ".join(words).encode())))
def test_reading_never_raises_and_says_only_names(content: bytes) -> None:
    facts = read("p/a.go", Language.GO, content)
    assert (facts.path, facts.language) == ("p/a.go", Language.GO)
    assert list(facts.declares) == sorted(set(facts.declares))
    assert list(facts.uses) == sorted(set(facts.uses))
    assert not {"", "_"} & {*facts.declares, *facts.uses}
    assert [statement.line for statement in facts.imports] == sorted(statement.line for statement in facts.imports)


TEXT = st.text(max_size=12)
PATHS = st.one_of(
    TEXT, st.sampled_from(["fmt", "C", "a/b", "example.com/a", "example.com/a/p", ".", "..", "./p", "../..", "/", ""])
)
WHERE = st.sampled_from(["", "p/", "a/vendor/example.com/a/", "testdata/x/", "src/a/b/", "_x/p/"])
MANIFESTS = st.one_of(
    TEXT,
    st.lists(
        st.sampled_from(
            ["module example.com/a", "module std", "module /", "require (", ")", "replace example.com/a => ./p",
             "replace x => ../..", "use .", "use ../a", "use (", "example.com/a v1 // x", '"', "=>"]
        ),
        max_size=6,
    ).map("\n".join),
)  # fmt: skip


@settings(max_examples=200)
@given(
    st.dictionaries(st.tuples(WHERE, st.sampled_from(["go.mod", "go.work"])).map("".join), MANIFESTS, max_size=4),
    st.dictionaries(
        st.tuples(WHERE, st.sampled_from(["a.go", "b.go", "a_test.go"])).map("".join),
        st.tuples(
            st.lists(st.tuples(PATHS, st.sampled_from(["", ".", "_", "q"])), max_size=4),
            st.sampled_from(["p", "p_test", "main", ""]),
            st.lists(st.one_of(TEXT, st.sampled_from(["N", "init", "p.N", "q.N", ".", "a.b.c"])), max_size=4),
            st.sampled_from(ReadStatus),
        ),
        max_size=5,
    ),
)
def test_resolution_never_raises_and_answers_every_import(
    manifests: dict[str, str],
    sources: dict[str, tuple[list[tuple[str, str]], str, list[str], ReadStatus]],
) -> None:
    facts = [
        SourceFacts(
            path,
            Language.GO,
            status,
            tuple(ImportStatement(1, specifier, alias=alias) for specifier, alias in imports),
            package,
            tuple(names),
            tuple(names),
        )
        for path, (imports, package, names, status) in sorted(sources.items())
    ]
    tree = RepoTree(frozenset([*manifests, *sources]))
    assert wanted_manifests(tree) == set(manifests)
    tree = RepoTree(tree.paths, manifests)
    assert wanted_manifests(tree) == set()
    outcomes = list(resolve_imports(tree, facts))
    assert [outcome.path for outcome in outcomes] == [file.path for file in facts]
    for file, outcome in zip(facts, outcomes, strict=True):
        assert len([o for o in outcome.outcomes if o.line]) >= len(file.imports)
        assert {target for o in outcome.outcomes for target in o.targets} <= tree.paths
