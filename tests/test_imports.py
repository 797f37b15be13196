"""Imports point downwards.

Every module of the package has a row. It may import modules of its own row and of rows above it in this table, which
lists the foundations first. Two things are narrower: inputs, filters and outputs never import one another, and of the
buffers they may import the contract alone. `config.reference` describes all plugins and therefore stands apart from
the rest of `config`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shipper

ROWS = (
    ("shipper", "errors", "clock", "disk", "damaged", "early_signals", "descriptors", "record", "metrics", "log"),
    ("columns", "config", "retry", "supervisor"),
    ("parsers", "codecs", "net", "aws", "context", "kubernetes", "monitoring.names", "monitoring.own_names"),
    ("inputs", "filters", "outputs", "buffers"),
    (
        "plugins",
        "router",
        "intake",
        "circuit",
        "accounts",
        "flush_log",
        "dispatcher",
        "processing",
        "pipeline",
        "rewriting",
        "late_answers",
        "ledger",
    ),
    (
        "service",
        "engine",
        "assembly",
        "stop",
        "stopping",
        "making_room",
        "storage",
        "losses",
        "disk_storage",
        "config.reference",
        "in_force",
        "support_report",
        "watchdog",
        "monitoring",
    ),
    ("cli", "command_line", "doctor", "admin", "testing", "__main__"),
)
PLUGIN_KINDS = ("inputs", "filters", "outputs")
HEAVY = ("botocore", "aiobotocore", "aiohttp", "pyarrow", "asyncio", "uvloop")

PACKAGE = Path(shipper.__file__).parent
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}


def modules() -> dict[str, Path]:
    """All modules of the package by their name below it; the package itself is `shipper`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts) or "shipper"] = path
    return found


MODULES = modules()


def imports_of(module: str) -> Iterator[str]:
    """The modules of the package that a module imports anywhere in its text."""
    path = MODULES[module]
    folder = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("shipper.") for a in node.names if a.name.partition(".")[0] == "shipper")
        elif isinstance(node, ast.ImportFrom):
            source = (node.module or "").split(".") if node.module else []
            if node.level:
                source = [*folder[: len(folder) - node.level + 1], *source]
            elif source[:1] == ["shipper"]:
                source = source[1:]
            else:
                continue
            for alias in node.names:
                name = ".".join([*source, alias.name])
                yield name if name in MODULES else ".".join(source) or "shipper"


def row_of(module: str) -> int | None:
    """The row of a module: that of the longest name in the table that it begins with."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((ROW_OF[name] for name in names if name in ROW_OF), None)


def why_not(module: str, imported: str) -> str | None:
    """What forbids this import; None if it is allowed."""
    row, other = row_of(module), row_of(imported)
    if row is None or other is None:
        return "a module is missing in the table"
    if other > row:
        return f"row {row} must not import row {other}"
    kind, other_kind = module.partition(".")[0], imported.partition(".")[0]
    if kind in PLUGIN_KINDS and other_kind in PLUGIN_KINDS and other_kind != kind:
        return "plugins of different kinds must not import one another"
    if kind in PLUGIN_KINDS and other_kind == "buffers" and imported != "buffers.base":
        return "plugins know the contract of buffers only"
    if kind == "buffers" and other_kind in PLUGIN_KINDS:
        return "buffers know no plugins"
    if kind in PLUGIN_KINDS and kind == other_kind and are_different_plugins(module, imported):
        return "plugins must not import one another"
    return None


def are_different_plugins(module: str, imported: str) -> bool:
    """Whether two modules of one kind belong to different folders, or one looks into the folder of another plugin."""
    other = imported.split(".")
    return len(other) > 2 and module.split(".")[1] != other[1]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_what_is_below_it(module: str) -> None:
    wrong = {name: why for name in imports_of(module) if (why := why_not(module, name))}

    assert not wrong, f"{module} imports {wrong}"


def test_every_module_has_a_row() -> None:
    assert [module for module in MODULES if row_of(module) is None] == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("errors", "config.units"),
        ("config.options", "parsers.base"),
        ("config.load", "config.reference"),
        ("inputs.tail.input", "outputs.base"),
        ("outputs.null", "buffers.memory"),
        ("outputs.null", "outputs.cloudwatch_logs.events"),
        ("outputs.null", "engine"),
        ("buffers.memory", "outputs.base"),
        ("pipeline", "engine"),
        ("engine", "nowhere"),
    ],
)
def test_table_forbids_upward_and_sideward_imports(module: str, imported: str) -> None:
    assert why_not(module, imported) is not None


def loaded_by(statements: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after these statements."""
    code = f"import sys; {statements}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(ran.stdout.split())


def test_importing_the_command_loads_no_network_library() -> None:
    assert loaded_by("import shipper.cli") <= {"asyncio"}


def test_null_output_loads_no_aws_library() -> None:
    statements = "from shipper.plugins import find_plugin; find_plugin('input', 'dummy'); find_plugin('output', 'null')"

    assert loaded_by(statements) <= {"asyncio"}
