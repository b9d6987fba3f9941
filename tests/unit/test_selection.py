from __future__ import annotations

import string
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.selection import Selection


def left_out(*paths: str, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> set[str]:
    return set(paths) - Selection(include, exclude).select(paths)


@pytest.mark.parametrize(
    "copy",
    [
        ".git/hooks/pre.py",
        "node_modules/left-pad/index.js",
        "web/node_modules/@scope/p/index.ts",
        "bower_components/x.js",
        ".yarn/releases/yarn-4.cjs",
        "pkg/__pycache__/a.py",
        ".venv/lib/a.py",
        ".tox/py311/lib/a.py",
        "web/.next/server/a.js",
        "opt/conda/lib/python3.11/site-packages/numpy/a.py",
        "env/Lib/site-packages/numpy/a.py",
    ],
)
def test_what_tools_put_there_is_left_out(copy: str) -> None:
    assert left_out("src/a.py", copy) == {copy}


@pytest.mark.parametrize(
    "own",
    [
        "src/node_modules.js",
        "venv/models.py",
        "env/a.py",
        "tests/data/site-packages/a.py",
        "dist/a.js",
        "build/a.py",
        "target/A.java",
        "shop/vendor/models.py",
        "internal/vendor/vendor.go",
        "vendor.go",
        ".github/scripts/a.py",
        "git/a.py",
    ],
)
def test_names_that_only_look_like_copies_stay(own: str) -> None:
    assert left_out("src/a.py", "sub/go.mod", "requirements/modules.txt", own) == set()


PARTS = [".git", "node_modules", "vendor", "github.com", "site-packages", "python3.11", "venv", "a", "b.py", ".venv"]
LAST = ["a.py", "go.mod", "pyvenv.cfg", "modules.txt", "autoload.php", "xgo.mod", "vendor", ".git"]


@settings(max_examples=300)
@given(paths=st.lists(st.tuples(st.lists(st.sampled_from(PARTS), max_size=4), st.sampled_from(LAST)), max_size=8))
def test_a_glob_that_matches_nothing_changes_nothing(paths: list[tuple[list[str], str]]) -> None:
    every = {"/".join([*parts, name]) for parts, name in paths}
    assert Selection().select(every) == Selection(include=("no/such",)).select(every)


def test_a_virtual_environment_is_known_by_its_file_under_any_name() -> None:
    assert left_out("my/pyvenv.cfg", "my/lib/a.py", "mine/a.py") == {"my/pyvenv.cfg", "my/lib/a.py"}


def test_a_virtual_environment_in_the_root_does_not_take_the_repository_with_it() -> None:
    assert left_out("pyvenv.cfg", "app/a.py", "lib/python3.12/site-packages/x.py") == {
        "lib/python3.12/site-packages/x.py"
    }


@pytest.mark.parametrize(
    "mark",
    [
        "a/vendor/modules.txt",
        "a/go.mod",
        "a/vendor/vendor.json",
        "a/vendor/autoload.php",
        "a/vendor/github.com/u/r/r.go",
    ],
)
def test_a_vendor_directory_with_copies_is_left_out(mark: str) -> None:
    copies = {"a/vendor/x/x.go"} | ({mark} if "/vendor/" in mark else set())
    assert left_out("a/a.go", "b/vendor/v.go", "a/b/vendor/v.go", mark, "a/vendor/x/x.go") == copies


def test_vendor_beside_the_go_mod_of_the_root_is_left_out() -> None:
    assert left_out("go.mod", "vendor/x/x.go", "lib/vendor/x.go") == {"vendor/x/x.go"}


def test_include_beats_the_rules() -> None:
    paths = ("go.mod", "vendor/x/x.go", "vendor/y/y.go", "node_modules/a.js")
    assert left_out(*paths, include=("vendor/x/**",)) == {"vendor/y/y.go", "node_modules/a.js"}
    assert left_out(*paths, include=("vendor", "*.js")) == set()


def test_exclude_beats_include() -> None:
    paths = ("a/a.go", "a/a_gen.go", "node_modules/a.js", "node_modules/b.js")
    chosen = Selection(include=("node_modules/",), exclude=("*_gen.go", "/node_modules/b.*")).select(paths)
    assert chosen == {"a/a.go", "node_modules/a.js"}


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("gen", ["gen", "gen/a.py", "x/gen/y/a.py"], ["gen.py", "xgen/a.py"]),
        ("/gen", ["gen/a.py", "gen"], ["x/gen/a.py"]),
        ("gen/", ["gen/a.py", "x/gen/a.py"], ["gen", "x/gen"]),
        ("a/gen", ["a/gen/x.py"], ["b/a/gen/x.py"]),
        ("*.pb.go", ["a.pb.go", "x/y/a.pb.go"], ["a.go", "a.pb.go.txt"]),
        ("a/*.py", ["a/x.py"], ["a/b/x.py", "x/a/x.py"]),
        ("a/**", ["a/x.py", "a/b/x.py"], ["a", "ab/x.py"]),
        ("**/a", ["a/x.py", "b/c/a/x.py", "a"], ["ba/x.py"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c.py"], ["a/xb", "ab"]),
        ("a/**/**/b", ["a/b", "a/x/b"], ["ab"]),
        ("**", ["a", "a/b.py"], []),
        ("a?.py", ["ab.py"], ["a.py", "abc.py", "a/.py"]),
        ("[a-c].py", ["a.py", "x/b.py"], ["d.py"]),
        ("[!a-c].py", ["d.py"], ["a.py"]),
        ("x[^a]y", ["xby"], ["xay", "x/y"]),
        ("[]].py", ["].py"], ["a.py"]),
        ("[z-a].py", ["[z-a].py"], ["z.py"]),
        ("a[.py", ["a[.py"], ["a.py"]),
        (r"\*.py", ["*.py"], ["a.py"]),
        ("a.py", ["a.py"], ["axpy"]),
        ("", [], ["a", "a/b"]),
        ("/", [], ["a", "a/b"]),
    ],
)
def test_globs_read_as_in_a_gitignore(glob: str, matching: list[str], others: list[str]) -> None:
    assert left_out(*matching, *others, exclude=(glob,)) == set(matching)


NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.py", "vendor", "gen"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
GLOBS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "?", "*.py", "[ab]", "[!a]*", "gen", "/"]), min_size=1, max_size=5
)


@settings(max_examples=100)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=8), GLOBS)
def test_globs_agree_with_git(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]], parts: list[str]
) -> None:
    # No file may stand where another path needs a directory.
    files = {"/".join([*path[:-1], f"{path[-1]}.f"]) for path in paths}
    glob = "/".join(part for part in parts if part != "/") + ("/" if parts[-1] == "/" else "")
    root = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / ".git" / "info" / "exclude").write_text(f"{glob}\n")
    asked = subprocess.run(
        ["git", "-C", root, "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin"],
        input="\n".join(sorted(files)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode in (0, 1), asked.stderr
    assert left_out(*files, exclude=(glob,)) == set(asked.stdout.split("\n")) - {""}


@settings(max_examples=200)
@given(
    st.frozensets(PATHS, max_size=10),
    st.lists(st.text(string.printable, max_size=8), max_size=3),
    st.lists(st.text("[]!^-\\*?/ab&~|", max_size=8), max_size=3),
)
def test_any_text_is_a_glob(paths: frozenset[str], include: list[str], exclude: list[str]) -> None:
    chosen = Selection(tuple(include), tuple(exclude)).select(paths)
    assert chosen <= paths
    assert chosen >= Selection(exclude=tuple(exclude)).select(paths)
    assert chosen <= Selection(include=("**",)).select(paths)


def test_globs_that_match_no_file_are_named() -> None:
    selection = Selection(include=("vendor/", "vendr/"), exclude=("*.md", "docs/**", "/", "src/a.py"))
    assert selection.unmatched(["vendor/a.go", "README.md", "src/a.py"]) == ("vendr/", "docs/**", "/")
    assert Selection().unmatched(["a.py"]) == ()
