"""Small Python repositories, one for each way that imports get lost."""

from __future__ import annotations

import pytest

from alexandria.domain.imports import EdgeKind, Outcome, ReadStatus, Resolved
from support.repos import edges_of, facts_of, outcomes_of

Files = dict[str, str | bytes]


def pairs(files: Files) -> set[tuple[str, str]]:
    return set(edges_of(files))


def outcomes(files: Files, path: str) -> tuple[Outcome, ...]:
    return outcomes_of(files)[path].outcomes


def only_outcome(files: Files, path: str) -> Outcome:
    (outcome,) = outcomes(files, path)
    return outcome


# -- what an import means ---------------------------------------------------------------------------


def test_import_goes_to_the_module_and_not_to_the_packages_on_the_way() -> None:
    files: Files = {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": "", "main.py": "import a.b.c\n"}
    assert pairs(files) == {("main.py", "a/b/c.py")}


def test_from_import_goes_to_submodules_and_else_to_the_package() -> None:
    files: Files = {
        "a/__init__.py": "",
        "a/sub.py": "",
        "a/pkg/__init__.py": "",
        "one.py": "from a import sub\n",
        "two.py": "from a import thing\n",
        "three.py": "from a import sub, pkg as p, thing\n",
        "four.py": "from a import *\n",
        "five.py": "from a.sub import thing\n",
    }
    assert pairs(files) == {
        ("one.py", "a/sub.py"),
        ("two.py", "a/__init__.py"),
        ("three.py", "a/sub.py"),
        ("three.py", "a/pkg/__init__.py"),
        ("three.py", "a/__init__.py"),
        ("four.py", "a/__init__.py"),
        ("five.py", "a/sub.py"),
    }


def test_what_the_root_of_the_repository_lacks_is_said_of_a_dot() -> None:
    outcome = only_outcome({"a.py": "from . import gone\n"}, "a.py")
    assert (outcome.reason, outcome.tried) == ("./ has no module gone", ("gone.py", "gone/__init__.py"))


def test_a_module_called_setup_in_a_package_makes_no_project_of_the_package() -> None:
    files: Files = {
        "pyproject.toml": "",
        "lib/tool/__init__.py": "",
        "lib/tool/modules/__init__.py": "",
        "lib/tool/modules/setup.py": "def main(): ...\n",
        "lib/tool/modules/apt.py": "",
        "lib/tool/modules/repository.py": "import apt\nimport tool.modules.apt as own\n",
    }
    first, second = outcomes(files, "lib/tool/modules/repository.py")
    assert (first.resolved, second.targets) == (Resolved.EXTERNAL, ("lib/tool/modules/apt.py",))


def test_a_package_wins_over_a_module_and_a_module_over_a_namespace() -> None:
    files: Files = {
        "a.py": "",
        "a/__init__.py": "",
        "b.py": "",
        "b/c.py": "",
        "main.py": "import a\nimport b\n",
    }
    assert pairs(files) == {("main.py", "a/__init__.py"), ("main.py", "b.py")}


def test_relative_imports_of_any_depth() -> None:
    files: Files = {
        "p/__init__.py": "from . import x\nfrom .q import r\n",
        "p/x.py": "from .q.r import s\n",
        "p/q/__init__.py": "from .. import x\n",
        "p/q/r.py": "from ..x import y\nfrom . import z\nfrom .t import u\nfrom ...main import v\n",
        "p/q/t/__init__.py": "from ...q import r\n",
        "main.py": "",
    }
    assert pairs(files) == {
        ("p/__init__.py", "p/x.py"),
        ("p/__init__.py", "p/q/r.py"),
        ("p/x.py", "p/q/r.py"),
        ("p/q/__init__.py", "p/x.py"),
        ("p/q/r.py", "p/x.py"),
        ("p/q/r.py", "p/q/__init__.py"),
        ("p/q/r.py", "p/q/t/__init__.py"),
        ("p/q/r.py", "main.py"),
        ("p/q/t/__init__.py", "p/q/r.py"),
    }


def test_relative_imports_that_climb_out_are_unresolved() -> None:
    outcome = only_outcome({"p/a.py": "from ... import x\n"}, "p/a.py")
    assert (outcome.resolved, outcome.reason) == (Resolved.UNRESOLVED, "climbs out of the repository")


def test_cycles_and_imports_of_oneself_do_no_harm() -> None:
    files: Files = {
        "p/__init__.py": "import p\nfrom . import a\n",
        "p/a.py": "from p import b\n",
        "p/b.py": "from p import a\nfrom . import b\n",
    }
    assert pairs(files) == {("p/__init__.py", "p/a.py"), ("p/a.py", "p/b.py"), ("p/b.py", "p/a.py")}


def test_conditional_imports_are_edges_all_the_same() -> None:
    source = """
try:
    from fast import f
except ImportError:
    from slow import f
def g():
    import lazy
"""
    files: Files = {"fast.py": "", "slow.py": "", "lazy.py": "", "main.py": source}
    assert pairs(files) == {("main.py", "fast.py"), ("main.py", "slow.py"), ("main.py", "lazy.py")}


def test_imports_for_type_checkers_are_of_their_own_kind_unless_the_program_needs_them_too() -> None:
    files: Files = {
        "a.py": "",
        "b.py": "",
        "main.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n    import b\nimport b\n",
    }
    assert edges_of(files) == {("main.py", "a.py"): "type_only", ("main.py", "b.py"): "import"}


@pytest.mark.parametrize(
    ("path", "call", "imported"),
    [
        ("main.py", "import_module('.c', 'p.q')", {"p/q/c.py"}),
        ("main.py", "import_module('..c', 'p.q')", {"p/c.py"}),
        ("main.py", "import_module(  # why\n name='.c', package='p')", {"p/c.py"}),
        ("main.py", "import_module('p.c', 'gone')", {"p/c.py"}),
        ("p/q/a.py", "import_module('.c', __package__)", {"p/q/c.py"}),
        ("p/q/a.py", "import_module('..c', package=__package__)", {"p/c.py"}),
        ("p/q/a.py", "import_module('..c', __name__)", {"p/q/c.py"}),
        ("p/q/__init__.py", "import_module('.c', __name__)", {"p/q/c.py"}),
        ("p/q/__init__.py", "import_module('..c', __name__)", {"p/c.py"}),
    ],
)
def test_name_is_relative_to_the_package_that_import_module_is_given(path: str, call: str, imported: set[str]) -> None:
    files: Files = dict.fromkeys(("p/__init__.py", "p/c.py", "p/q/__init__.py", "p/q/c.py"), "")
    files[path] = f"from importlib import import_module\n{call}\n"
    assert pairs(files) == {(path, target) for target in imported}


@pytest.mark.parametrize("package", ["which", "which()", "f'{p}'", "'...'", "''", "'p' + q", "*which"])
def test_package_that_is_no_literal_leaves_a_relative_name_dynamic(package: str) -> None:
    files: Files = {
        "p/__init__.py": "",
        "p/c.py": "",
        "p/a.py": f"import importlib\nimportlib.import_module('..c', {package})\n",
    }
    (outcome,) = [o for o in outcomes(files, "p/a.py") if o.line == 2]
    assert (outcome.resolved, outcome.targets) == (Resolved.DYNAMIC, ())


def test_import_module_with_a_literal_is_followed_and_otherwise_counted() -> None:
    files: Files = {
        "p/__init__.py": "",
        "p/a.py": "from importlib import import_module\nimport_module('p.b')\nimport_module('.c', __package__)\n",
        "p/b.py": "import importlib\nimportlib.import_module(name)\n",
        "p/c.py": "",
    }
    assert pairs(files) == {("p/a.py", "p/b.py"), ("p/a.py", "p/c.py")}
    assert outcomes(files, "p/b.py")[1].resolved is Resolved.DYNAMIC


def test_the_stub_is_the_module_for_stubs_and_where_there_is_nothing_else() -> None:
    files: Files = {
        "p/__init__.py": "",
        "p/a.py": "",
        "p/a.pyi": "from p import b\n",
        "p/b.py": "from p import a, c\n",
        "p/b.pyi": "from p import a\nfrom . import c\n",
        "p/c.pyi": "",
    }
    assert pairs(files) == {
        ("p/a.pyi", "p/b.pyi"),
        ("p/b.py", "p/a.py"),
        ("p/b.py", "p/c.pyi"),
        ("p/b.pyi", "p/a.pyi"),
        ("p/b.pyi", "p/c.pyi"),
    }


# -- where packages begin ---------------------------------------------------------------------------


def test_src_layout_without_any_metadata() -> None:
    files: Files = {
        "src/app/__init__.py": "",
        "src/app/a.py": "import app.b\n",
        "src/app/b.py": "",
        "tests/test_a.py": "from app import a\n",
    }
    assert pairs(files) == {("src/app/a.py", "src/app/b.py"), ("tests/test_a.py", "src/app/a.py")}


def test_lib_layout_and_a_package_that_is_only_called_lib() -> None:
    assert pairs({"lib/app/a.py": "", "t.py": "import app.a\n"}) == {("t.py", "lib/app/a.py")}
    files: Files = {"lib/__init__.py": "", "lib/a.py": "", "t.py": "import lib.a\nimport a\n"}
    assert pairs(files) == {("t.py", "lib/a.py")}
    assert outcomes(files, "t.py")[1].resolved is Resolved.EXTERNAL


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ("pyproject.toml", '[tool.setuptools]\npackage-dir = {"" = "code"}\n'),
        ("pyproject.toml", '[tool.setuptools]\npackage-dir = {"app" = "code/app"}\n'),
        ("pyproject.toml", '[tool.setuptools.packages.find]\nwhere = ["code"]\n'),
        ("pyproject.toml", '[tool.hatch.build.targets.wheel]\npackages = ["code/app"]\n'),
        ("pyproject.toml", '[tool.hatch.build.targets.wheel]\nsources = ["code"]\n'),
        ("pyproject.toml", '[tool.hatch.build]\ndev-mode-dirs = ["code"]\n'),
        ("pyproject.toml", '[[tool.poetry.packages]]\ninclude = "app"\nfrom = "code"\n'),
        ("pyproject.toml", '[tool.pdm.build]\npackage-dir = "code"\n'),
        ("pyproject.toml", '[tool.uv.build-backend]\nmodule-root = "code"\n'),
        ("pyproject.toml", '[tool.maturin]\npython-source = "code"\n'),
        ("pyproject.toml", '[tool.scikit-build]\nwheel.packages = ["code/app"]\n'),
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = "code"\n'),
        ("setup.cfg", "[options]\npackage_dir =\n    = code\n"),
        ("setup.cfg", "[options.packages.find]\nwhere = code\n"),
        ("pytest.ini", "[pytest]\npythonpath = code other\n"),
        ("setup.py", "from setuptools import setup\nsetup(package_dir={'': 'code'})\n"),
        ("setup.py", "import setuptools as s\ns.setup(packages=s.find_packages('code', exclude=['\\d']))\n"),
        ("setup.py", "setup(packages=find_namespace_packages(where='./code/'))\n"),
    ],
)
def test_metadata_says_where_packages_begin(manifest: str, text: str) -> None:
    files: Files = {
        manifest: text,
        "code/app/__init__.py": "",
        "code/app/a.py": "import app.b\n",
        "code/app/b.py": "",
        "checks/check.py": "from app.a import f\n",
    }
    assert pairs(files) == {("code/app/a.py", "code/app/b.py"), ("checks/check.py", "code/app/a.py")}


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ("pyproject.toml", '[tool.setuptools]\npackage-dir = {"app" = "code"}\n'),
        ("pyproject.toml", '[tool.hatch.build.targets.wheel.sources]\ncode = "app"\n'),
        ("setup.cfg", "[options]\npackage_dir =\n    app = code\n"),
        ("setup.py", "setup(package_dir={'app': 'code'})\n"),
    ],
)
def test_a_package_may_lie_in_a_directory_of_another_name(manifest: str, text: str) -> None:
    files: Files = {
        manifest: text,
        "code/__init__.py": "",
        "code/a.py": "",
        "checks/check.py": "from app.a import f\nimport app\n",
    }
    assert pairs(files) == {("checks/check.py", "code/a.py"), ("checks/check.py", "code/__init__.py")}


def test_a_monorepo_of_many_distributions() -> None:
    project = "[project]\nname = 'x'\n"
    files: Files = {
        "core/pyproject.toml": project,
        "core/src/core/__init__.py": "",
        "core/tests/__init__.py": "",
        "core/tests/helpers.py": "",
        "core/tests/test_core.py": "from tests.helpers import h\nimport core\n",
        "plugin/pyproject.toml": project,
        "plugin/plugin/__init__.py": "from core import x\n",
        "plugin/tests/__init__.py": "",
        "plugin/tests/helpers.py": "",
        "plugin/tests/test_plugin.py": "from tests.helpers import h\nimport plugin\n",
    }
    assert pairs(files) == {
        ("core/tests/test_core.py", "core/tests/helpers.py"),
        ("core/tests/test_core.py", "core/src/core/__init__.py"),
        ("plugin/plugin/__init__.py", "core/src/core/__init__.py"),
        ("plugin/tests/test_plugin.py", "plugin/tests/helpers.py"),
        ("plugin/tests/test_plugin.py", "plugin/plugin/__init__.py"),
    }


def test_the_tests_of_one_project_are_no_package_of_another() -> None:
    files: Files = {
        "one/setup.py": "",
        "one/utils/__init__.py": "",
        "two/setup.py": "",
        "two/main.py": "import utils\n",
    }
    assert only_outcome(files, "two/main.py").resolved is Resolved.EXTERNAL


NAMESPACE: Files = {
    "api/setup.cfg": "[options]\npackage_dir =\n    = src\n",
    "api/src/ns/api/__init__.py": "from ns.sdk import s\n",
    "sdk/setup.cfg": "[options]\npackage_dir =\n    = src\n",
    "sdk/src/ns/sdk/__init__.py": "from ns import api\n",
    "sdk/src/ns/sdk/util.py": "from .. import api\n",
    "sdk/src/ns/exporter/zip/__init__.py": "import ns.api, zip\nfrom ..http import send\n",
    "http/setup.cfg": "[options]\npackage_dir =\n    = src\n",
    "http/src/ns/exporter/http/__init__.py": "",
}


def test_one_namespace_package_over_several_roots() -> None:
    assert pairs(NAMESPACE) == {
        ("api/src/ns/api/__init__.py", "sdk/src/ns/sdk/__init__.py"),
        ("sdk/src/ns/sdk/__init__.py", "api/src/ns/api/__init__.py"),
        ("sdk/src/ns/sdk/util.py", "api/src/ns/api/__init__.py"),
        ("sdk/src/ns/exporter/zip/__init__.py", "api/src/ns/api/__init__.py"),
        ("sdk/src/ns/exporter/zip/__init__.py", "http/src/ns/exporter/http/__init__.py"),
    }


def test_the_rest_of_a_shared_namespace_is_external_and_holes_in_our_packages_are_unresolved() -> None:
    files = NAMESPACE | {"sdk/src/ns/sdk/more.py": "import ns.elsewhere\nimport ns.sdk.missing\n"}
    elsewhere, missing = outcomes(files, "sdk/src/ns/sdk/more.py")
    assert elsewhere.resolved is Resolved.EXTERNAL
    assert missing.resolved is Resolved.UNRESOLVED
    assert missing.reason == "sdk/src/ns/sdk/__init__.py has no submodule missing"
    assert missing.tried == ("sdk/src/ns/sdk/missing.py", "sdk/src/ns/sdk/missing/__init__.py")


@pytest.mark.parametrize(
    "declaration",
    [
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
        "__import__('pkg_resources').declare_namespace(__name__)\n",
    ],
)
def test_namespaces_of_the_old_kinds_add_up_too(declaration: str) -> None:
    files: Files = {
        "one/setup.py": "",
        "one/ns/__init__.py": declaration,
        "one/ns/a.py": "from ns import b\n",
        "two/setup.py": "",
        "two/ns/__init__.py": declaration,
        "two/ns/b.py": "import ns.a\n",
    }
    assert pairs(files) == {("one/ns/a.py", "two/ns/b.py"), ("two/ns/b.py", "one/ns/a.py")}


# -- the directory of the script and of the test ------------------------------------------------------


def test_scripts_and_tests_see_their_own_directory_and_those_above() -> None:
    files: Files = {
        "pkg/__init__.py": "",
        "tools/run.py": "import steps\n",
        "tools/steps.py": "",
        "tests/helpers.py": "",
        "tests/unit/test_a.py": "import helpers\nimport pkg\nimport near\n",
        "tests/unit/near.py": "",
    }
    assert pairs(files) == {
        ("tools/run.py", "tools/steps.py"),
        ("tests/unit/test_a.py", "tests/helpers.py"),
        ("tests/unit/test_a.py", "tests/unit/near.py"),
        ("tests/unit/test_a.py", "pkg/__init__.py"),
    }


def test_a_test_package_is_imported_from_the_directory_above_it() -> None:
    files: Files = {
        "tests/__init__.py": "",
        "tests/util.py": "",
        "tests/test_a.py": "from tests.util import x\nimport util\n",
    }
    assert pairs(files) == {("tests/test_a.py", "tests/util.py")}
    assert outcomes(files, "tests/test_a.py")[1].resolved is Resolved.EXTERNAL


def test_installed_code_does_not_see_its_own_directory() -> None:
    files: Files = {
        "src/ns/plugins/redis/__init__.py": "",
        "src/ns/plugins/redis/client.py": "import redis\n",
        "src/ns/plugins/main.py": "import redis.client\n",
    }
    assert pairs(files) == set()


def test_tests_see_what_they_put_on_the_path_if_there_is_only_one() -> None:
    files: Files = {
        "tests/apps/shop/__init__.py": "",
        "tests/apps/shop/cart.py": "",
        "tests/a/twice.py": "",
        "tests/b/twice.py": "",
        "tests/test_shop.py": "from shop.cart import c\nimport twice\n",
        "app/main.py": "import shop\n",
    }
    assert pairs(files) == {("tests/test_shop.py", "tests/apps/shop/cart.py")}


def test_a_project_that_runs_from_its_own_directory() -> None:
    files: Files = {
        "services/web/manage.py": "import shop.urls\n",
        "services/web/shop/urls.py": "from shop import views\n",
        "services/web/shop/views.py": "",
    }
    assert pairs(files) == {
        ("services/web/manage.py", "services/web/shop/urls.py"),
        ("services/web/shop/urls.py", "services/web/shop/views.py"),
    }


# -- what is not inside ------------------------------------------------------------------------------


def test_the_standard_library_never_resolves_into_the_repository() -> None:
    files: Files = {
        "types.py": "",
        "json/__init__.py": "",
        "distutils/core.py": "",
        "main.py": "import types, json\nfrom distutils.core import setup\n",
    }
    assert pairs(files) == set()
    assert {o.reason for o in outcomes(files, "main.py")} == {"standard library"}


def test_relative_imports_may_mean_modules_with_names_of_the_standard_library() -> None:
    files: Files = {"p/__init__.py": "from . import types\nfrom .json import x\n", "p/types.py": "", "p/json.py": ""}
    assert pairs(files) == {("p/__init__.py", "p/types.py"), ("p/__init__.py", "p/json.py")}


def test_imports_that_should_be_inside_are_never_dropped_silently() -> None:
    files: Files = {
        "p/__init__.py": "from ._version import v\nfrom . import q\n",
        "p/q.py": "import p.gone\nfrom p.gone import x\nimport numpy\nfrom p.__init__ import y\n",
    }
    version, _ = outcomes(files, "p/__init__.py")
    assert (version.resolved, version.line, version.specifier) == (Resolved.UNRESOLVED, 1, "._version")
    assert version.tried == ("p/_version.py", "p/_version/__init__.py")
    gone, from_gone, numpy, init = outcomes(files, "p/q.py")
    assert (gone.resolved, from_gone.resolved) == (Resolved.UNRESOLVED, Resolved.UNRESOLVED)
    assert (numpy.resolved, numpy.reason) == (Resolved.EXTERNAL, "no such package in the repository")
    assert init.targets == ("p/__init__.py",)


def test_a_directory_named_like_a_dependency_is_not_that_dependency() -> None:
    files: Files = {
        "examples/django/manage.py": "import django.core\nfrom django import conf\n",
        "examples/run.py": "import django\n",
    }
    assert [o.resolved for o in outcomes(files, "examples/django/manage.py")] == [Resolved.EXTERNAL] * 2


def test_a_hole_in_our_own_package_without_init_is_unresolved() -> None:
    files: Files = {"app/a.py": "from app.b import x\nfrom app import gone, b\n", "app/b.py": ""}
    first, found, gone = outcomes(files, "app/a.py")
    assert (first.targets, found.targets) == (("app/b.py",), ("app/b.py",))
    assert (gone.resolved, gone.specifier, gone.reason) == (Resolved.UNRESOLVED, "app.gone", "app/ has no module gone")


# -- rough text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"\xef\xbb\xbfimport a\r\nimport b\r\n", id="BOM and CRLF"),
        pytest.param(b"# coding: latin-1\nimport a  # caf\xe9\nimport b\n", id="Latin-1"),
        pytest.param(b"<<<<<<< x\nimport a\n=======\nimport b\n>>>>>>> y\n", id="merge markers"),
        pytest.param(b"import a\nclass (:\nimport b\n", id="syntax error"),
    ],
)
def test_rough_text_loses_no_imports(source: bytes) -> None:
    assert pairs({"a.py": "", "b.py": "", "main.py": source}) == {("main.py", "a.py"), ("main.py", "b.py")}


@pytest.mark.parametrize(
    "source",
    [
        "def f[T = int, *Ts = *tuple[int, ...], **P = [int, str]](a: T) -> T:\n  import x",
        "class A[T: (int, str) =\n list[int], U = int]:\n  import x",
        "type A[T = int] = list[T]; import x",
        "def f():\n  import x\n  return a, *[b], *(c)",
        "import x\na, *b = *[c], *[d] * 2",
        "def f():\n  import x\n  return *[a], b",
    ],
)
def test_syntax_that_the_grammar_lacks_breaks_no_file(source: str) -> None:
    (facts,) = facts_of({"main.py": source})
    assert facts.status is ReadStatus.READ
    line = source[: source.index("import x")].count("\n") + 1
    assert [(statement.line, statement.specifier) for statement in facts.imports] == [(line, "x")]


def test_broken_file_is_said_to_be_broken_whatever_else_is_in_it() -> None:
    broken = "class A[T = int]: pass\nimport x\nclass (:\n"
    (facts,) = facts_of({"main.py": broken})
    assert facts.status is ReadStatus.SYNTAX_ERROR
    assert [statement.specifier for statement in facts.imports] == ["x"]


def test_names_that_differ_only_in_case_are_different_files() -> None:
    files: Files = {"p/__init__.py": "", "p/Thing.py": "", "p/thing.py": "", "main.py": "from p import Thing\n"}
    assert pairs(files) == {("main.py", "p/Thing.py")}


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ("pyproject.toml", "not = [toml"),
        ("pyproject.toml", "x = " + "[" * 5000),
        ("pyproject.toml", "tool = 3"),
        ("pyproject.toml", '[tool]\nsetuptools = "x"\nhatch = []\npoetry.packages = [3, {include = 4}]\n'),
        (
            "pyproject.toml",
            '[tool.setuptools.packages.find]\nwhere = ["/etc", "../..", "..", "a\\u0000b", ".", "", 3]\n',
        ),
        ("setup.cfg", "no section\n"),
        ("setup.cfg", "[options]\npackage_dir = ==\n"),
        ("setup.cfg", "[options]\npackage_dir = %(x)s\n"),
        ("setup.py", "setup(package_dir={**x, 'a': 3, 4: 'b', None: None})"),
        ("setup.py", "(" * 5000),
        ("setup.py", "x = '\\d' if 1is 2 else\0"),
        ("setup.py", "find_packages(*a, where=w)"),
    ],
)
def test_manifests_may_be_malformed_in_any_way(manifest: str, text: str) -> None:
    files: Files = {manifest: text, "a.py": "", "b.py": "import a\n"}
    assert ("b.py", "a.py") in pairs(files)


def test_reasons_say_under_which_root_a_module_was_found() -> None:
    outcome = only_outcome({"src/a.py": "", "tests/t.py": "import a\n"}, "tests/t.py")
    assert outcome == Outcome(1, "a", Resolved.INSIDE, EdgeKind.IMPORT, ("src/a.py",), "source root src")
