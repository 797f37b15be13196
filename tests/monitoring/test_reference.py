"""The page about metrics, and that every metric has a help that somebody wrote."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import shipper
from shipper.monitoring.names import KNOWN
from shipper.monitoring.own_names import OWN_HELP
from shipper.monitoring.reference import PAGE, metrics_page

PACKAGE = Path(shipper.__file__).parent
KINDS = ("input", "filter", "output")
MAKERS = ("counter", "gauge", "gauges", "histogram", "count", "ask")
"""What methods of the registry are called where metrics are made."""

NOT_OURS = {known.source or known.name for known in KNOWN if not known.labels}


def made_in(path: Path) -> Iterator[str]:
    """The names of metrics that a module makes: as the registry has them, or without the kind of their component."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        match node.args[0]:
            case ast.Constant(value=str(name)) if called in MAKERS and name.replace("_", "").isalnum():
                yield name
            case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(rest))]) if called in MAKERS:
                yield rest.removeprefix("_")


def possible_names(path: Path, name: str) -> set[str]:
    """How the registry may call what is counted under this name in a module."""
    folder = path.relative_to(PACKAGE).parts[0]
    kinds = tuple(kind for kind in KINDS if folder == f"{kind}s") or KINDS
    return {name, *(f"{kind}_{name}" for kind in kinds)}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), "run: make docs"


def test_every_metric_has_a_help_that_somebody_wrote() -> None:
    made = {(path, name) for path in PACKAGE.rglob("*.py") for name in made_in(path) if name.count("_")}
    described = {*OWN_HELP, *NOT_OURS}

    assert len(made) > 80
    assert sorted({name for path, name in made if not possible_names(path, name) & described}) == []


def test_every_help_is_about_a_metric_that_is_made() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "own_names.py")
    # A name stands there whole, without the kind of its component, or behind it: f"{kind}_lag_bytes".
    forms = {name: (name, name.partition("_")[2]) for name in OWN_HELP}

    assert len(forms) > 50
    assert [
        n for n, (whole, part) in forms.items() if not any(f in text for f in (f'"{whole}"', f'"{part}"', f"}}_{part}"))
    ] == []


def test_a_help_is_a_sentence_of_its_own() -> None:
    assert [name for name, help in OWN_HELP.items() if not help.endswith(".") or len(help) < 20] == []
    assert len(set(OWN_HELP.values())) == len(OWN_HELP)
