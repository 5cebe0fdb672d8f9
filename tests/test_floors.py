"""The floors of the house: what may import what, read off the code itself.

An import goes down a floor or stays on its own; never up, never round. The ETL knows nothing of the
API; the API knows of the ETL its settings and its contracts.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.contracts.tables import TABLES
from etl.settings import PROJECT_ROOT
from etl.store import KNOWN

# Top down. Each name is a module or a folder right below its package.
FLOORS = {
    "api": (
        ("main", "log_config"),
        ("protocols", "routes", "page", "docs", "metrics"),
        ("edge",),
        ("live",),
        ("cache",),
        ("encode", "store", "figures", "callers"),
        ("bars",),
        ("models", "problems", "redis_link"),
        ("fallbacks", "settings", "counts"),
        ("faults",),
    ),
    "etl": (
        ("__main__",),
        (
            "extract",
            "transform",
            "load",
            "verify",
            "rollback",
            "report",
            "check",
            "worker",
            "schedule",
            "follow",
            "minutes",
            "minutes_copy",
            "minute_stages",
            "feed",
            "stream",
            "consume",
            "live",
            "dead",
        ),
        ("sources", "store", "reporting"),
        ("calls", "bus"),
        ("rules",),
        ("contracts", "market"),
        ("base",),
        ("settings", "calendar_names", "credentials", "log_lines"),
    ),
}
OF_ETL = (
    "etl.settings",
    "etl.credentials",
    "etl.contracts",
    "etl.log_lines",
)  # all that the API may know of it

Arrow = tuple[str, str]


def list_modules() -> dict[str, Path]:
    """Module → file, of both packages."""
    found: dict[str, Path] = {}
    for package in FLOORS:
        for path in (PROJECT_ROOT / package).rglob("*.py"):
            parts = path.relative_to(PROJECT_ROOT).with_suffix("").parts
            found[".".join(p for p in parts if p != "__init__")] = path
    return found


MODULES = list_modules()


def list_arrows() -> list[Arrow]:
    """Who imports whom, at whatever place of the module."""
    return [
        (name, target)
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        for target in list_targets(node)
        if target.partition(".")[0] in FLOORS
    ]


def list_targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in MODULES else node.module


ARROWS = list_arrows()


def test_only_the_engine_that_keeps_a_store_has_sql_that_names_its_tables() -> None:
    """Rules, commands and reports know the store by the relations known_… (etl.store.KNOWN)."""
    named = rf"(?<!etl\.)\b(next|store|previous|sorted)\.({'|'.join(TABLES)})\b"
    templated = r"\{(name|store|base|source|target)\}\.[a-z_{]"
    engine = "etl.store.duckdb_file."
    knowing = list_modules_with(f"{named}|(FROM|JOIN|INTO|UPDATE) {templated}")
    assert [name for name in knowing if name.startswith(engine)]
    assert [name for name in knowing if not name.startswith(engine) and name[:3] == "etl"] == []


def test_what_a_store_is_known_by_is_in_step_with_its_tables() -> None:
    assert set(KNOWN.values()) == set(TABLES)


# Longer than LONGEST lines: plain data, or a list of steps that reads better in one piece.
LONGEST = 25
LONG = {
    "etl.sources.files.headers.find_single",
    "etl.sources.files.reading.take_plain",
    "api.edge.shortcut.build_shortcut",
    "api.main.create_app",
    "api.main.main",
    "api.protocols.openbb.shapes.build_figure",
    "api.protocols.openbb.widgets.build_widgets",
    "api.protocols.openbb.widgets.build_apps",
    "api.store.duckdb_file.quality.read_coverage",
    "api.store.duckdb_file.snapshots.open_snapshot",
}


def test_no_function_is_longer_than_a_screen_but_those_that_are_named() -> None:
    long = {
        f"{module}.{node.name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, FUNCTIONS) and count_lines(node) > LONGEST
    }
    assert sorted(long - LONG) == []
    assert len(long) > 1, "the count finds those that are named"


def count_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of its body, without docstring and without its longest text (one SQL statement)."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    whole = {line for step in body for line in list_lines(step)}
    texts = [list_lines(t) for step in body for t in ast.walk(step) if isinstance(t, TEXTS)]
    return len(whole) - max((len(text) for text in texts if len(text) > 1), default=0)


def list_lines(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
TEXTS = (ast.Constant, ast.JoinedStr)


def list_modules_with(pattern: str) -> list[str]:
    return [n for n, path in MODULES.items() if re.search(pattern, path.read_text())]


def find_floor(module: str) -> int:
    """How deep a module lies: 0 is the top. The package itself lies above all."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    if not room:
        return -1
    return next(depth for depth, rooms in enumerate(FLOORS[package]) if room in rooms)


def test_every_module_lies_on_a_floor() -> None:
    assert {find_floor(module) for module in MODULES} == set(range(-1, 10))


def test_no_import_goes_up_a_floor() -> None:
    within = [(a, b) for a, b in ARROWS if a.partition(".")[0] == b.partition(".")[0]]
    assert within
    assert [(a, b) for a, b in within if find_floor(b) < find_floor(a)] == []


# Of api.routes what serves all resources; every other module there is one.
SHARED = {
    f"api.routes.{name}"
    for name in (
        *("context", "lists", "pages", "symbols", "many_minutes", "minute_quality"),
        *("taken", "matrices"),
    )
}


def test_no_resource_knows_another() -> None:
    resources = {name for name in MODULES if name.startswith("api.routes.")} - SHARED
    assert len(resources) > 5
    arrows = [(a, b) for a, b in ARROWS if b in resources and a != "api.main"]
    assert arrows == [], "what two of them need lies beside the context"


def test_a_protocol_knows_of_the_routes_their_context_alone_and_no_other_protocol() -> None:
    of_protocols = [(a, b) for a, b in ARROWS if a.startswith("api.protocols.")]
    assert of_protocols
    for source, target in of_protocols:
        assert not target.startswith("api.routes") or target == "api.routes.context", source
        if target.startswith("api.protocols."):
            assert target.split(".")[2] == source.split(".")[2], (source, target)


def test_the_shortcut_and_the_routes_derive_bars_by_a_view_and_by_nothing_else() -> None:
    """adjust and resample are called where a View is read; UDF resamples what a View gave it."""
    makers = ("api.bars.adjust.adjust", "api.bars.resample.resample")
    calling = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in makers
    }
    assert calling == {"api.bars.view", "api.protocols.udf.asking"}


def test_the_etl_knows_nothing_of_the_api_and_the_api_little_of_the_etl() -> None:
    across = {(a, b) for a, b in ARROWS if a.partition(".")[0] != b.partition(".")[0]}
    assert [(a, b) for a, b in across if not (a.startswith("api") and b.startswith(OF_ETL))] == []


def test_who_reads_the_store_does_not_know_which_engine_keeps_it() -> None:
    """main chooses it; the route of replicas hands out the file itself."""
    engine = "api.store.duckdb_file"
    knowing = {a for a, b in ARROWS if b.startswith(engine) and not a.startswith(engine)}
    assert knowing == {"api.main", "api.routes.generations"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    following: dict[str, set[str]] = {}
    for source, target in ARROWS:
        if target != source:
            following.setdefault(source, set()).add(target)
    seen: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in seen:
            for target in sorted(following.get(module, ())):
                walk(target, (*path, module))
            seen.add(module)

    for module in MODULES:
        walk(module, ())


@pytest.mark.parametrize("package", FLOORS)
def test_no_module_bears_the_name_of_another_package(package: str) -> None:
    required = (PROJECT_ROOT / "constraints.txt").read_text().lower()
    taken = sys.stdlib_module_names | {
        line.partition("==")[0].replace("-", "_") for line in required.splitlines() if "==" in line
    }
    names = {module.rpartition(".")[2] for module in MODULES if module.startswith(package + ".")}
    names -= {"massive"}  # a vendor's folder bears its name, and no command stands in it
    assert names - {"__main__"} & taken == set()
