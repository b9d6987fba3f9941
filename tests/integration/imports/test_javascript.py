"""JavaScript and TypeScript: small repositories as text, and the edges that the languages' tools would make."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from alexandria.domain.imports import Outcome, Resolved
from support.repos import edges_of, outcomes_of


def targets_of(files: Mapping[str, str | bytes], importer: str) -> dict[str, str | None]:
    """Return what each specifier of one file means; None for one that means no file of the repository."""
    return {o.specifier: o.targets[0] if o.targets else None for o in outcomes_of(files)[importer].outcomes}


def only_outcome(files: Mapping[str, str | bytes], importer: str) -> Outcome:
    (outcome,) = outcomes_of(files)[importer].outcomes
    return outcome


def package(name: str, **members: object) -> str:
    return json.dumps({"name": name, **members})


# -- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specifier", "target"),
    [
        ("./a.js", "src/a.js"),
        ("./b", "src/b.tsx"),
        ("./c", "src/c/index.ts"),
        ("./c/", "src/c/index.ts"),
        ("./d", "src/d.jsx"),
        ("./e", "src/e.mjs"),
        ("./f.json.js", "src/f.json.ts"),
        ("./g.service", "src/g.service.ts"),
        (".", "src/index.ts"),
        ("..", "index.js"),
        ("../src/../src/a", "src/a.js"),
        ("./h", "src/h.ts"),  # the file before the directory
        ("./h/", "src/h/index.ts"),
    ],
)
def test_relative_specifier_means_the_file_that_the_resolvers_look_for(specifier: str, target: str) -> None:
    names = "index.js src/index.ts src/a.js src/b.tsx src/c/index.ts src/d.jsx src/e.mjs src/f.json.ts src/g.service.ts"
    files = dict.fromkeys([*names.split(), "src/h.ts", "src/h/index.ts"], "")
    assert edges_of({**files, "src/main.ts": f"import x from '{specifier}'"}) == {("src/main.ts", target): "import"}


@pytest.mark.parametrize(
    ("written", "source"),
    [("a.js", "a.ts"), ("a.js", "a.tsx"), ("a.jsx", "a.tsx"), ("a.mjs", "a.mts"), ("a.cjs", "a.cts"), ("a.ts", "a.js")],
)
def test_output_extension_means_the_source(written: str, source: str) -> None:
    files = {"main.ts": f"import './{written}'", source: ""}
    assert targets_of(files, "main.ts") == {f"./{written}": source}


def test_exact_extension_beats_its_twin() -> None:
    files = {"main.ts": "import './a.jsx'; import './b.ts'", "a.jsx": "", "a.js": "", "b.ts": "", "b.js": ""}
    assert targets_of(files, "main.ts") == {"./a.jsx": "a.jsx", "./b.ts": "b.ts"}


def test_implementation_beats_the_declaration_beside_it_except_for_declarations() -> None:
    files = {
        "a.js": "",
        "a.d.ts": "",
        "b.mjs": "",
        "b.d.mts": "",
        "main.ts": "import './a'; import './a.d.ts'; import './b.mjs'",
        "types.d.ts": "import './a'; import './a.js'; import './b.mjs'",
    }
    assert targets_of(files, "main.ts") == {"./a": "a.js", "./a.d.ts": "a.js", "./b.mjs": "b.mjs"}
    assert targets_of(files, "types.d.ts") == {"./a": "a.d.ts", "./a.js": "a.d.ts", "./b.mjs": "b.d.mts"}


def test_directory_means_the_main_of_its_package() -> None:
    files = {
        "main.js": "require('./one'); require('./two'); require('./three'); require('./four')",
        "one/package.json": '{"main": "lib/entry"}',
        "one/lib/entry.js": "",
        "one/index.js": "",
        "two/package.json": '{"main": "lib"}',
        "two/lib/index.js": "",
        "three/package.json": '{"main": "missing.js"}',
        "three/index.js": "",
        "four/package.json": '{"main": "."}',
        "four/index.js": "",
    }
    assert targets_of(files, "main.js") == {
        "./one": "one/lib/entry.js",
        "./two": "two/lib/index.js",
        "./three": "three/index.js",
        "./four": "four/index.js",
    }


def test_query_and_loader_are_no_part_of_the_name() -> None:
    files = {
        "main.ts": "import './a.ts?worker'; import './a?raw'; import '!!raw-loader!./a.ts'; import './page.html?raw'",
        "a.ts": "",
        "page.html": "",
    }
    assert targets_of(files, "main.ts") == {
        "./a.ts?worker": "a.ts",
        "./a?raw": "a.ts",
        "!!raw-loader!./a.ts": "a.ts",
        "./page.html?raw": None,
    }


def test_root_dirs_count_as_one_directory() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"rootDirs": ["src", "generated"]}}',
        "src/views/page.ts": "import './template'",
        "generated/views/template.ts": "",
    }
    assert edges_of(files) == {("src/views/page.ts", "generated/views/template.ts"): "import"}


@pytest.mark.parametrize("asset", ["style.css", "data.json", "App.vue", "Page.svelte", "logo.svg", "addon.node"])
def test_file_that_is_no_source_is_unsupported_and_not_unresolved(asset: str) -> None:
    outcome = only_outcome({"src/main.ts": f"import x from './{asset}'", f"src/{asset}": ""}, "src/main.ts")
    assert outcome.resolved is Resolved.UNSUPPORTED
    assert asset in outcome.reason
    assert outcome.targets == ()


def test_missing_file_is_unresolved_with_everything_that_was_tried() -> None:
    outcome = only_outcome({"src/main.ts": "\nimport x from './gone'", "src/other.ts": ""}, "src/main.ts")
    assert outcome.resolved is Resolved.UNRESOLVED
    assert outcome.line == 2
    assert {"src/gone.ts", "src/gone.js", "src/gone.d.ts", "src/gone"} <= set(outcome.tried)
    assert len(outcome.tried) == len(set(outcome.tried))


def test_specifier_that_climbs_out_of_the_repository_is_unresolved() -> None:
    outcome = only_outcome({"src/main.ts": "import x from '../../elsewhere/main'"}, "src/main.ts")
    assert outcome.resolved is Resolved.UNRESOLVED
    assert "climbs out" in outcome.reason


def test_names_that_differ_in_case_are_different_files() -> None:
    files = {"main.ts": "import './Button'; import './button'", "Button.ts": "", "button.ts": ""}
    assert targets_of(files, "main.ts") == {"./Button": "Button.ts", "./button": "button.ts"}
    assert only_outcome({"main.ts": "import './button'", "Button.ts": ""}, "main.ts").resolved is Resolved.UNRESOLVED


def test_cycle_and_self_import_are_no_obstacle() -> None:
    files = {"a.ts": "import './b'; import './a'", "b.ts": "export * from './a'"}
    assert edges_of(files) == {("a.ts", "b.ts"): "import", ("b.ts", "a.ts"): "reexport"}


# -- kinds ---------------------------------------------------------------------------------------------------------


def test_barrel_reexports() -> None:
    files = {
        "index.ts": "export * from './a'; export { b } from './b'; export type { C } from './c'; import './d'",
        **dict.fromkeys(["a.ts", "b.ts", "c.ts", "d.ts"], ""),
    }
    assert edges_of(files) == {
        ("index.ts", "a.ts"): "reexport",
        ("index.ts", "b.ts"): "reexport",
        ("index.ts", "c.ts"): "type_only",
        ("index.ts", "d.ts"): "import",
    }


def test_import_that_runs_beats_one_for_its_types() -> None:
    files = {"main.ts": "import type { A } from './a'; import { a } from './a'; import type { B } from './b'"}
    assert edges_of({**files, "a.ts": "", "b.ts": ""}) == {
        ("main.ts", "a.ts"): "import",
        ("main.ts", "b.ts"): "type_only",
    }


def test_what_leads_out_of_the_repository_is_told_apart() -> None:
    source = """
        import fs from 'fs'; import p from 'node:path'; import z from 'zod'; import s from '@scope/pkg/sub';
        import h from 'https://example.com/x.js'; import 'data:text/javascript,!1'; import v from 'virtual:pages';
        import r from '/static/x.js'; import a from '@/missing'; import n from '../node_modules/x/y.js';
        import(`./${name}`); require(name);
    """
    found = {o.specifier: o.resolved.value for o in outcomes_of({"src/main.ts": source})["src/main.ts"].outcomes}
    assert found == {
        "fs": "external",
        "node:path": "external",
        "zod": "external",
        "@scope/pkg/sub": "external",
        "https://example.com/x.js": "unsupported",
        "data:text/javascript,!1": "unsupported",
        "virtual:pages": "unsupported",
        "/static/x.js": "unsupported",
        "@/missing": "unresolved",
        "../node_modules/x/y.js": "external",
        "`./${name}`": "dynamic",
        "name": "dynamic",
    }


# -- tsconfig.json -------------------------------------------------------------------------------------------------


def test_extends_chain_gives_paths_and_base_url_from_where_they_are_written() -> None:
    files = {
        "packages/app/tsconfig.json": '{"extends": "../../config/middle"}',
        "config/middle.json": '{"extends": ["./base.json", "./paths.json"]}',
        "config/base.json": '{"compilerOptions": {"baseUrl": "../packages", "paths": {"@old/*": ["gone/*"]}}}',
        "config/paths.json": '{"compilerOptions": {"paths": {"@lib/*": ["shared/*", "spare/*"], "lib": ["shared"]}}}',
        "packages/app/main.ts": "import '@lib/a'; import '@lib/b'; import 'lib'; import 'shared/c'; import '@old/x'",
        "packages/shared/a.ts": "",
        "packages/shared/index.ts": "",
        "packages/shared/c/index.ts": "",
        "packages/spare/b.ts": "",
    }
    assert targets_of(files, "packages/app/main.ts") == {
        "@lib/a": "packages/shared/a.ts",
        "@lib/b": "packages/spare/b.ts",
        "lib": "packages/shared/index.ts",
        "shared/c": "packages/shared/c/index.ts",
        "@old/x": None,
    }


def test_extends_may_name_a_package_of_the_workspace() -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"]}',
        "packages/config/package.json": package("@acme/config"),
        "packages/config/base.json": '{"compilerOptions": {"paths": {"~/*": ["${configDir}/src/*"]}}}',
        "packages/app/tsconfig.json": '{"extends": "@acme/config/base"}',
        "packages/app/src/main.ts": "import '~/util'",
        "packages/app/src/util.ts": "",
    }
    assert targets_of(files, "packages/app/src/main.ts") == {"~/util": "packages/app/src/util.ts"}


@pytest.mark.parametrize("name", ["tsconfig.json", "jsconfig.json"])
def test_nearest_configuration_decides(name: str) -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"paths": {"@/*": ["outer/*"]}}}',
        f"web/{name}": '{"compilerOptions": {"paths": {"@/*": ["./inner/*"]}}}',
        "main.ts": "import '@/a'",
        "web/deep/main.js": "import '@/a'",
        "outer/a.ts": "",
        "web/inner/a.ts": "",
    }
    assert edges_of(files) == {("main.ts", "outer/a.ts"): "import", ("web/deep/main.js", "web/inner/a.ts"): "import"}


def test_base_url_is_asked_before_packages() -> None:
    files = {
        "jsconfig.json": '{"compilerOptions": {"baseUrl": "src"}}',
        "src/app.js": "import 'components/button'; import 'react'; import 'components'",
        "src/components/button.jsx": "",
        "src/components/index.js": "",
    }
    assert targets_of(files, "src/app.js") == {
        "components/button": "src/components/button.jsx",
        "react": None,
        "components": "src/components/index.js",
    }


def test_longest_matching_path_decides() -> None:
    paths = {
        "*": ["any/*"],
        "@app/*": ["app/*"],
        "@app/core/*": ["core/*"],
        "@app/exact": ["exact.ts"],
        "@*-kit": ["kits/*"],
    }
    files = {
        "tsconfig.json": json.dumps({"compilerOptions": {"paths": paths}}),
        "main.ts": "import '@app/x'; import '@app/core/x'; import '@app/exact'; import 'y'; import '@tool-kit'",
        **dict.fromkeys(
            ["any/y.ts", "app/x.ts", "app/core/x.ts", "app/exact.ts", "core/x.ts", "exact.ts", "kits/tool.ts"], ""
        ),
    }
    assert targets_of(files, "main.ts") == {
        "@app/x": "app/x.ts",
        "@app/core/x": "core/x.ts",
        "@app/exact": "exact.ts",
        "y": "any/y.ts",
        "@tool-kit": "kits/tool.ts",
    }


def test_project_references_bring_the_configuration_that_covers_the_file() -> None:
    files = {
        "tsconfig.json": '{"files": [], "references": [{"path": "tsconfig.node.json"}, {"path": "tsconfig.app.json"}]}',
        "tsconfig.app.json": '{"include": ["src"], "compilerOptions": {"paths": {"@/*": ["./src/*"]}}}',
        "tsconfig.node.json": '{"include": ["vite.config.ts"], "compilerOptions": {"paths": {"@/*": ["./tools/*"]}}}',
        "src/main.ts": "import '@/a'",
        "vite.config.ts": "import '@/a'",
        "src/a.ts": "",
        "tools/a.ts": "",
    }
    assert edges_of(files) == {("src/main.ts", "src/a.ts"): "import", ("vite.config.ts", "tools/a.ts"): "import"}


def test_path_that_leads_nowhere_is_unresolved_and_names_its_configuration() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"paths": {"lib/*": ["./src/*"]}}}',
        "main.ts": "import 'lib/gone'",
    }
    outcome = only_outcome(files, "main.ts")
    assert outcome.resolved is Resolved.UNRESOLVED
    assert "tsconfig.json" in outcome.reason
    assert "src/gone.ts" in outcome.tried


def test_configuration_with_comments_trailing_commas_and_byte_order_mark() -> None:
    config = '\ufeff{ // line\r\n "compilerOptions": { /* block */ "paths": { "@//x/*": ["./src/*",], }, }, }'
    files = {"tsconfig.json": config, "main.ts": "import '@//x/a'", "src/a.ts": ""}
    assert targets_of(files, "main.ts") == {"@//x/a": "src/a.ts"}


def test_configuration_that_a_framework_generates_has_its_defaults() -> None:
    files = {
        "kit/tsconfig.json": '{"extends": "./.svelte-kit/tsconfig.json"}',
        "kit/src/routes/page.ts": "import '$lib/api'; import '$lib'",
        "kit/src/lib/api.ts": "",
        "kit/src/lib/index.ts": "",
        "nuxt/tsconfig.json": '{"extends": "./.nuxt/tsconfig.json"}',
        "nuxt/plugins/a.ts": "import '~/server/b'",
        "nuxt/server/b.ts": "",
    }
    assert targets_of(files, "kit/src/routes/page.ts") == {
        "$lib/api": "kit/src/lib/api.ts",
        "$lib": "kit/src/lib/index.ts",
    }
    assert targets_of(files, "nuxt/plugins/a.ts") == {"~/server/b": "nuxt/server/b.ts"}


@pytest.mark.parametrize(
    "manifests",
    [
        {"tsconfig.json": '{"extends": "./tsconfig.json"}'},
        {
            "tsconfig.json": '{"extends": "./a.json"}',
            "a.json": '{"extends": ["./b", "./a"]}',
            "b.json": '{"extends": "./a"}',
        },
        {
            "tsconfig.json": '{"references": [{"path": "."}, {"path": "./a"}, 3]}',
            "a/tsconfig.json": '{"references": [{"path": ".."}]}',
        },
        {"tsconfig.json": "{", "package.json": "[1]", "pnpm-workspace.yaml": "\tpackages: ]["},
        {"tsconfig.json": '{"compilerOptions": {"paths": [1], "baseUrl": 3, "rootDirs": {"a": 1}, "outDir": []}}'},
        {"tsconfig.json": '{"compilerOptions": {"paths": {"./a": 1, "*": [null, "../../../x"]}}}'},
        {"tsconfig.json": '{"compilerOptions": 1, "extends": {"a": 1}, "include": 1, "files": "x", "references": 1}'},
        {"package.json": '{"name": 1, "workspaces": {"packages": [1, "["]}, "main": 1, "exports": [[]], "imports": 1}'},
        {"package.json": '{"name": "self", "exports": {"a": 1, ".": 2}, "imports": {"#a": null}, "dependencies": 1}'},
        {"tsconfig.json": "[" * 100_000, "package.json": '{"a":' * 100_000},
        {"vite.config.ts": "export default { resolve: { alias: { '@': , : [ } } alias: [", "lerna.json": "null"},
    ],
)
def test_malformed_manifests_and_cycles_change_nothing_else(manifests: dict[str, str]) -> None:
    files = {**manifests, "main.ts": "import './a.js'; import 'self'; import '#a'; import 'x'", "a.ts": ""}
    assert edges_of(files) == {("main.ts", "a.ts"): "import"}


# -- packages ------------------------------------------------------------------------------------------------------

WORKSPACES = {
    "npm": {"package.json": '{"name": "root", "workspaces": ["packages/*"]}'},
    "yarn": {"package.json": '{"name": "root", "workspaces": {"packages": ["packages/**", "!packages/private"]}}'},
    "pnpm": {
        "package.json": '{"name": "root"}',
        "pnpm-workspace.yaml": "packages:\n  # all\n  - 'packages/*'\n  - \"!x\"\n",
    },
    "lerna": {"lerna.json": '{"packages": ["packages/*"]}'},
    "rush": {"rush.json": '{"projects": [{"packageName": "@acme/util", "projectFolder": "packages/util"}] /* … */}'},
}


@pytest.mark.parametrize("tool", WORKSPACES)
def test_workspace_package_is_linked_by_name(tool: str) -> None:
    files = {
        **WORKSPACES[tool],
        "packages/app/package.json": package("app"),
        "packages/app/main.ts": "import '@acme/util'; import '@acme/util/lib/deep'; import 'elsewhere'",
        "packages/util/package.json": package("@acme/util", main="./lib/index.js"),
        "packages/util/lib/index.js": "",
        "packages/util/lib/deep.ts": "",
        "fixtures/package.json": package("elsewhere"),
        "fixtures/index.js": "",
    }
    assert targets_of(files, "packages/app/main.ts") == {
        "@acme/util": "packages/util/lib/index.js",
        "@acme/util/lib/deep": "packages/util/lib/deep.ts",
        "elsewhere": None,
    }


def test_dependency_on_a_directory_links_it_under_the_name_it_is_given() -> None:
    files = {
        "app/package.json": package("app", dependencies={"renamed": "file:../lib", "b": "workspace:real@*"}),
        "app/main.js": "require('renamed'); require('b'); require('lib')",
        "lib/package.json": package("lib"),
        "lib/index.js": "",
        "package.json": '{"workspaces": ["real"]}',
        "real/package.json": package("real"),
        "real/index.js": "",
    }
    assert targets_of(files, "app/main.js") == {"renamed": "lib/index.js", "b": "real/index.js", "lib": None}


def test_exports_conditions_decide_by_form_and_importer() -> None:
    exports = {
        ".": {"types": "./index.d.ts", "import": "./index.mjs", "require": "./index.cjs"},
        "./feature/*": {"node": {"import": "./features/*.js"}, "default": "./never/*.js"},
        "./feature/private/*": None,
        "./first": ["./missing.js", "./found.js"],
        "./data/*.json": "./data/*.json",
    }
    files = {
        "package.json": '{"workspaces": ["lib"]}',
        "lib/package.json": package("lib", exports=exports),
        **dict.fromkeys(["lib/index.d.ts", "lib/index.mjs", "lib/index.cjs", "lib/features/a.js", "lib/found.js"], ""),
        "main.mjs": "import 'lib'; import 'lib/feature/a'; import 'lib/feature/private/b'; import 'lib/first'",
        "main.cjs": "require('lib')",
        "main.d.ts": "import 'lib'",
    }
    assert targets_of(files, "main.mjs") == {
        "lib": "lib/index.mjs",
        "lib/feature/a": "lib/features/a.js",
        "lib/feature/private/b": None,
        "lib/first": "lib/found.js",
    }
    assert targets_of(files, "main.cjs") == {"lib": "lib/index.cjs"}
    assert targets_of(files, "main.d.ts") == {"lib": "lib/index.d.ts"}


def test_custom_condition_of_the_importers_configuration_holds() -> None:
    files = {
        "package.json": '{"workspaces": ["lib"]}',
        "tsconfig.json": '{"compilerOptions": {"customConditions": ["@acme/source"]}}',
        "lib/package.json": package("lib", exports={".": {"@acme/source": "./src/main.ts", "default": "./index.js"}}),
        "lib/src/main.ts": "",
        "lib/index.js": "",
        "main.ts": "import 'lib'",
    }
    assert targets_of(files, "main.ts") == {"lib": "lib/src/main.ts"}


def test_package_imports_itself_by_name_and_its_own_imports() -> None:
    files = {
        "package.json": package(
            "self",
            exports={".": "./src/index.ts", "./sub/*": "./src/*.ts"},
            imports={"#util": "./src/util.ts", "#deep/*": {"default": "./src/deep/*.ts"}, "#dep": "dep", "#me": "self"},
        ),
        "test/a.test.ts": (
            "import 'self'; import 'self/sub/util'; import '#util'; import '#deep/x';"
            "import '#dep'; import '#me'; import '#no'"
        ),
        **dict.fromkeys(["src/index.ts", "src/util.ts", "src/deep/x.ts"], ""),
    }
    assert targets_of(files, "test/a.test.ts") == {
        "self": "src/index.ts",
        "self/sub/util": "src/util.ts",
        "#util": "src/util.ts",
        "#deep/x": "src/deep/x.ts",
        "#dep": None,
        "#me": "src/index.ts",
        "#no": None,
    }
    outcomes = {o.specifier: o.resolved for o in outcomes_of(files)["test/a.test.ts"].outcomes}
    assert (outcomes["#dep"], outcomes["#no"]) == (Resolved.EXTERNAL, Resolved.UNRESOLVED)


@pytest.mark.parametrize(
    ("members", "source"),
    [
        ({"main": "./dist/index.js"}, "src/index.ts"),
        ({"main": "dist/lib.cjs.js", "source": "source/entry.ts"}, "source/entry.ts"),
        ({"exports": "./dist/index.mjs"}, "src/index.ts"),
        ({"exports": {".": {"types": "./types/index.d.ts", "default": "./build/esm/index.js"}}}, "src/index.tsx"),
        ({"exports": {".": "./lib/main.min.js"}}, "src/main.js"),
        ({"exports": {".": {"types": "./dist/real.d.ts", "default": "./dist/stub.js"}}}, "src/real.ts"),
        ({"exports": {".": "./dist/lib.cjs.prod.js"}}, "src/lib.ts"),
        ({"main": "./index.cjs"}, "src/index.ts"),
        ({"module": "es/index.js"}, "src/index/index.ts"),
        ({"types": "dist/index.d.ts"}, "index.ts"),
        ({"main": "lib"}, "src/index.js"),
    ],
)
def test_build_output_that_is_not_in_the_repository_means_its_source(members: dict[str, object], source: str) -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"]}',
        "packages/lib/package.json": package("lib", **members),
        f"packages/lib/{source}": "",
        "packages/lib/src/stub.ts": "",
        "app/main.ts": "import 'lib'",
    }
    assert targets_of(files, "app/main.ts") == {"lib": f"packages/lib/{source}"}


@pytest.mark.parametrize(
    ("name", "text", "source"),
    [
        (
            "tsdown.config.ts",
            "export default { entry: ['src/exports/index.ts', 'src/exports/run.ts'] }",
            "src/exports/run.ts",
        ),
        ("tsdown.config.ts", "export default { entry: 'src/exports/*.{ts,tsx}' }", "src/exports/run.tsx"),
        ("tsup.config.js", "export default defineConfig({ entry: { run: 'src/cli/start.ts' } })", "src/cli/start.ts"),
        ("tsup.config.ts", "export default [{ entryPoints: ['src/a.ts', 'src/**/*.ts'] }]", "src/run.ts"),
        (
            "build.config.ts",
            "export default defineBuildConfig({ entries: ['./lib/commands/run'] })",
            "lib/commands/run.ts",
        ),
        (
            "vite.config.ts",
            "export default { build: { lib: { entry: { run: path.resolve(__dirname, 'source/run.ts') } } } }",
            "source/run.ts",
        ),
        (
            "rollup.config.mjs",
            "export default { input: 'web/run.js', output: [{ file: 'dist/run.js' }] }",
            "web/run.js",
        ),
        ("tsup.config.ts", "export default { entry: ['!src/run.ts', other()] }", "src/run.ts"),
    ],
)
def test_build_output_means_the_entry_point_that_the_build_names(name: str, text: str, source: str) -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"]}',
        "packages/lib/package.json": package("lib", exports={"./run": "./dist/run.mjs"}),
        f"packages/lib/{name}": text,
        "packages/lib/src/run.ts": "",
        f"packages/lib/{source}": "",
        "app/main.ts": "import 'lib/run'",
    }
    assert targets_of(files, "app/main.ts") == {"lib/run": f"packages/lib/{source}"}


def test_a_bundle_of_any_name_means_the_only_entry_point_of_its_build() -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"]}',
        "packages/one/package.json": package("one", main="dist/one.umd.js"),
        "packages/one/vite.config.ts": "({ build: { lib: { entry: resolve(__dirname, 'code/main.ts') } } })",
        "packages/one/code/main.ts": "",
        "packages/two/package.json": package("two", main="dist/two.umd.js"),
        "packages/two/rollup.config.js": "export default { input: ['code/a.ts', 'code/b.ts'] }",
        "packages/two/code/a.ts": "",
        "packages/two/code/b.ts": "",
        "packages/page/package.json": package("page", main="dist/page.js"),
        "packages/page/vite.config.ts": "export default { build: { rollupOptions: { input: 'index.html' } } }",
        "packages/page/index.html": "",
        "app/main.ts": "import 'one'; import 'two'; import 'page'",
    }
    assert targets_of(files, "app/main.ts") == {"one": "packages/one/code/main.ts", "two": None, "page": None}


def test_types_versions_map_the_sub_paths_of_a_package_without_exports() -> None:
    versions = {">=4": {"old/*": ["./types/old/*"], "deep": ["./types/deep.d.ts"]}, "*": {"*": ["./types/*"]}}
    files = {
        "package.json": '{"workspaces": ["lib", "closed"]}',
        "lib/package.json": package("lib", typesVersions=versions),
        "lib/types/old/a.d.ts": "",
        "lib/types/deep.d.ts": "",
        "lib/types/b.d.ts": "",
        "lib/plain.ts": "",
        "lib/types/plain.d.ts": "",
        "closed/package.json": package("closed", exports={".": "./x.js"}, typesVersions=versions),
        "closed/types/b.d.ts": "",
        "main.ts": "import 'lib/old/a'; import 'lib/deep'; import 'lib/b'; import 'lib/plain'; import 'closed/b'",
    }
    assert targets_of(files, "main.ts") == {
        "lib/old/a": "lib/types/old/a.d.ts",
        "lib/deep": "lib/types/deep.d.ts",
        "lib/b": "lib/types/b.d.ts",
        "lib/plain": "lib/plain.ts",
        "closed/b": None,
    }


@pytest.mark.parametrize(
    "versions", ["[]", "3", '{"*": 3}', '{"*": {"a": 3, "*": {"x": []}}}', '{"*": {"*": ["../../../a"]}}']
)
def test_types_versions_of_any_shape_are_taken(versions: str) -> None:
    files = {
        "package.json": '{"workspaces": ["lib"]}',
        "lib/package.json": '{"name": "lib", "typesVersions": ' + versions + "}",
        "main.ts": "import 'lib/a'",
    }
    assert targets_of(files, "main.ts") == {"lib/a": None}


def test_module_suffixes_are_tried_in_their_order() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"moduleSuffixes": [".ios", ".native", ""]}}',
        "button.ios.tsx": "",
        "button.native.tsx": "",
        "button.tsx": "",
        "list.native.ts": "",
        "plain.ts": "",
        "folder/index.ios.ts": "",
        "folder/index.ts": "",
        "main.ts": "import './button'; import './list.js'; import './plain'; import './folder'",
    }
    assert targets_of(files, "main.ts") == {
        "./button": "button.ios.tsx",
        "./list.js": "list.native.ts",
        "./plain": "plain.ts",
        "./folder": "folder/index.ios.ts",
    }


def test_out_dir_mirrors_root_dir() -> None:
    files = {
        "package.json": '{"workspaces": ["lib"]}',
        "lib/package.json": package("lib", exports={"./*": "./artifacts/js/*.js"}),
        "lib/tsconfig.build.json": '{"compilerOptions": {"outDir": "artifacts/js", "rootDir": "code"}}',
        "lib/code/a.ts": "",
        "main.ts": "import 'lib/a'",
    }
    assert targets_of(files, "main.ts") == {"lib/a": "lib/code/a.ts"}


def test_linked_output_directory_stands_for_the_package_that_is_built_into_it() -> None:
    files = {
        "package.json": package("api", main="./web.js"),
        "tsconfig.json": '{"compilerOptions": {"outDir": "_build"}, "files": ["source/web.ts"]}',
        "source/web.ts": "",
        "source/deep/x.ts": "",
        "samples/package.json": package("samples", dependencies={"api": "file:../_build"}),
        "samples/main.ts": "import 'api'; import 'api/deep/x'",
    }
    assert targets_of(files, "samples/main.ts") == {"api": "source/web.ts", "api/deep/x": "source/deep/x.ts"}


def test_relative_import_of_a_build_output_is_unresolved_and_says_what_it_is_built_from() -> None:
    files = {
        "package.json": package("lib"),
        "src/index.ts": "",
        "test/a.js": "require('../dist/index.js')",
    }
    outcome = only_outcome(files, "test/a.js")
    assert outcome.resolved is Resolved.UNRESOLVED
    assert "src/index.ts" in outcome.reason


def test_nearest_of_several_packages_with_one_name_is_meant() -> None:
    files = {
        "one/package.json": '{"workspaces": ["lib", "app"]}',
        "one/lib/package.json": package("lib"),
        "one/lib/index.js": "",
        "one/app/main.js": "require('lib')",
        "two/package.json": '{"workspaces": ["lib", "app"]}',
        "two/lib/package.json": package("lib"),
        "two/lib/index.js": "",
        "two/app/main.js": "require('lib')",
    }
    assert edges_of(files) == {
        ("one/app/main.js", "one/lib/index.js"): "import",
        ("two/app/main.js", "two/lib/index.js"): "import",
    }


def test_root_of_a_workspace_gives_way_to_a_member_of_its_name() -> None:
    files = {
        "package.json": '{"name": "lib", "workspaces": ["packages/*"]}',
        "packages/lib/package.json": package("lib"),
        "packages/lib/index.js": "",
        "index.js": "",
        "examples/a.js": "require('lib')",
    }
    assert targets_of(files, "examples/a.js") == {"lib": "packages/lib/index.js"}


def test_path_to_the_build_of_a_package_means_its_source() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"paths": {"@acme/ui": ["./dist/ui"], "@acme/ui/*": ["./dist/ui/*"]}}}',
        "projects/ui/package.json": package("@acme/ui"),
        "projects/ui/src/public-api.ts": "",
        "projects/ui/src/button.ts": "",
        "app/main.ts": "import '@acme/ui'; import '@acme/ui/button'",
    }
    assert targets_of(files, "app/main.ts") == {
        "@acme/ui": "projects/ui/src/public-api.ts",
        "@acme/ui/button": "projects/ui/src/button.ts",
    }


def test_mapped_name_that_is_installed_is_external() -> None:
    paths = {"react": ["./node_modules/@types/react"], "@acme/*": ["./libs/*"], "lib": ["./gone"]}
    files = {
        "tsconfig.json": json.dumps({"compilerOptions": {"paths": paths}}),
        "package.json": package("app", devDependencies={"@acme/published": "^1.0.0"}),
        "main.ts": "import 'react'; import '@acme/published'; import 'lib'",
    }
    assert [o.resolved.value for o in outcomes_of(files)["main.ts"].outcomes] == ["external", "external", "unresolved"]


# -- bundlers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "path.resolve(__dirname, 'src')",
        "path.join(__dirname, './', \"src\")",
        "fileURLToPath(new URL('./src', import.meta.url))",
        "new URL('./src', import.meta.url).pathname",
        "`${__dirname}/src`",
        "__dirname + '/src'",
        "'/src'",
        "resolve('src')",
        "path.resolve('src') /* from the root */",
    ],
)
def test_plainly_written_alias_of_a_bundler_is_followed(value: str) -> None:
    files = {
        "web/vite.config.ts": f"export default {{ resolve: {{ alias: {{ '@': {value}, other: compute() }} }} }}",
        "web/src/main.js": "import '@/a'; import 'other/b'; import '@scope/a'",
        "web/src/a.js": "",
    }
    assert targets_of(files, "web/src/main.js") == {"@/a": "web/src/a.js", "other/b": None, "@scope/a": None}


def test_list_of_aliases_and_exact_alias_and_folders_of_modules() -> None:
    config = """
        module.exports = { resolve: {
            alias: [
                { find: '@', replacement: path.resolve(__dirname, 'src') },
                { find: /^~\\//, replacement: './src/' }],
            modules: ['node_modules', 'build/web', path.resolve(__dirname, 'shared')],
        } };
        const more = { alias: { vue$: './src/vue.js' } };
    """
    files = {
        "webpack.config.js": config,
        "package.json": package("app", dependencies={"react": "18"}),
        "main.js": (
            "import '@/a'; import '~/a'; import 'vue'; import 'vue/x';"
            "import 'tool'; import 'react'; import 'fs'; import 'deep/b'"
        ),
        **dict.fromkeys(
            ["src/a.js", "src/vue.js", "shared/tool.js", "shared/react.js", "shared/fs.js", "web/deep/b.js"], ""
        ),
    }
    assert targets_of(files, "main.js") == {
        "@/a": "src/a.js",
        "~/a": "src/a.js",
        "vue": "src/vue.js",
        "vue/x": None,
        "tool": "shared/tool.js",
        "react": None,
        "fs": None,
        "deep/b": "web/deep/b.js",
    }


def test_import_map_of_deno_is_followed() -> None:
    imports = {"@/": "./src/", "db": "./lib/db.ts", "std/": "https://deno.land/std/", "x": 1, "": "./y"}
    files = {
        "deno.jsonc": json.dumps({"imports": imports}) + " // done",
        "src/main.ts": "import '@/a.ts'; import 'db'; import 'std/path.ts'; import 'jsr:@std/fs'",
        "src/a.ts": "",
        "lib/db.ts": "",
    }
    assert targets_of(files, "src/main.ts") == {
        "@/a.ts": "src/a.ts",
        "db": "lib/db.ts",
        "std/path.ts": None,
        "jsr:@std/fs": None,
    }


# -- content -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfimport a from './a';\r\nimport b from './b';\r\n",
        "import a from './a';\nimport b from './b'".encode("utf-16"),
        b"// caf\xe9 \xff\nimport a from './a'; const s = '\xe9'; import b from './b'",
        b"<<<<<<< HEAD\nimport a from './a';\n=======\nimport b from './b';\n>>>>>>> branch\nconst x = 1;\n",
        b"#!/usr/bin/env node\nconst a = require('./a'), { b } = require(\n  './b'\n);",
        b"import a from './a'\nfunction broken() { const x = ; if ( }\nexport { b } from './b'\n",
        b"import a from './\\x61'; import b from './\\u{62}'",
    ],
)
def test_odd_content_keeps_its_imports(content: bytes) -> None:
    edges = edges_of({"main.js": content, "a.js": "", "b.js": ""})
    assert edges.keys() == {("main.js", "a.js"), ("main.js", "b.js")}
