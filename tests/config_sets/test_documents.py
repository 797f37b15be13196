"""The pages about migration and operation: that what they name exists."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shipper.monitoring.names import KNOWN
from shipper.monitoring.own_names import OWN_HELP
from shipper.plugins import KINDS, plugin_names
from tests.components.shipper_process import REPOSITORY, shipper_command

from .mounted import dry_run, remarks

PAGES = ("README.md", "docs/limits.md", "docs/migration.md", "docs/operations.md")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name: str) -> None:
    page = REPOSITORY / name
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]

    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_metrics_that_are_to_be_watched_exist() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    named = set(re.findall(r"\b(?:shipper|fluentbit)_(?:input|output|engine)_[a-z_]+", text))
    there = {*(f"shipper_{name}" for name in OWN_HELP), *(f"fluentbit_{known.name}" for known in KNOWN)}

    assert len(named) > 8
    assert sorted(named - there) == []


# -- why records end ---------------------------------------------------------------------------------------------------


_PLACES = {"dropped": 2, "_drop": 2, "refuse": 1, "_refuse": 3, "_end": 1, "Reason": 0, "Refused": 0, "Loss": 3}
_PLACES |= {"count_dropped": 4, "abandoned": 1, "_abandoned": 1}
"""Which argument of what is called names the reason."""


def constants_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names of a module that stand for texts."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text


def reasons_told(call: ast.Call, constants: dict[str, str]) -> Iterator[str]:
    """The reasons of a drop that a call names, as far as they stand there or are constants."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = _PLACES.get(called)
    if place is None or len(call.args) <= place:
        return
    for node in ast.walk(call.args[place]):
        match node:
            case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z]+(_[a-z]+)*", text):
                yield text
            case ast.Name(id=name) if name in constants:
                yield constants[name]


def test_every_reason_of_a_drop_is_explained_and_exists() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    table = text.partition("| reason of a drop |")[2].partition("\n\n")[0]
    explained = {word for line in table.splitlines()[2:] for word in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    explained -= set(plugin_names("output")) | set(plugin_names("input"))
    paths = list((REPOSITORY / "shipper").rglob("*.py"))
    trees = [ast.parse(path.read_text()) for path in paths]
    constants = {name: text for tree in trees for name, text in constants_of(tree)}
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    told = {reason for call in calls for reason in reasons_told(call, constants)}
    code = "".join(path.read_text() for path in paths)

    assert len(told) > 25
    assert sorted(told - explained) == []
    assert sorted(reason for reason in explained if f'"{reason}"' not in code) == []


# -- the first five minutes --------------------------------------------------------------------------------------------


def commands_of_the_readme() -> list[str]:
    """What README says to type after the installation, without what it says behind it."""
    text = (REPOSITORY / "README.md").read_text()
    return [line.partition("  #")[0].strip() for line in re.findall(r"^venv/bin/shipper (.*)", text, re.MULTILINE)]


def test_the_first_command_shows_the_lines_of_a_file() -> None:
    first = commands_of_the_readme()[0].replace(" -o ", " -p exit_on_eof=on -o ")

    done = subprocess.run(
        [shipper_command(), *first.split()], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "A log shipper that runs beside every container workload" in done.stdout


def test_the_configuration_of_the_readme_is_right(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text()
    (example,) = re.findall(r"```\n(\[SERVICE\]\n.*?)```", text, re.DOTALL)
    (tmp_path / "app.conf").write_text(example)
    assert "export HOSTNAME" in text and "-c app.conf --dry-run" in commands_of_the_readme()

    status, told = dry_run(tmp_path / "app.conf", {"HOSTNAME": "node-1"})

    assert (status, remarks(told)) == (0, [])


# -- recipes -----------------------------------------------------------------------------------------------------------


def test_refused_records_can_be_sent_again_as_the_page_says(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "storage-format.md").read_text().partition("## Rejected records")[2]
    replay, parsers = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    kept = tmp_path / "rejected.jsonl"
    (tmp_path / "replay-parsers.conf").write_text(parsers)
    replay = replay.replace("/var/lib/shipper/rejected/loki.0/rejected.jsonl", str(kept))
    (tmp_path / "replay.conf").write_text(f"{replay}[OUTPUT]\n    name stdout\n    match *\n    format json_lines\n")
    record = {"log": "l1", "message": "mine", "status": 500, "tag": "v1", "time": "noon", "record": {"output": "x"}}
    line = {"time": 1, "output": "loki.0", "status": "400", "message": "too far behind", "tag": "kube.shop"}
    kept.write_bytes(msgspec.json.encode({**line, "record_time": 2, "record": record}) + b"\n")

    done = subprocess.run(
        [shipper_command(), "-c", tmp_path / "replay.conf"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    (sent,) = [msgspec.json.decode(out) for out in done.stdout.splitlines() if out.startswith("{")]
    assert sent.pop("date") > 1_600_000_000
    assert sent == record


def test_options_that_others_map_to_exist() -> None:
    """In the tables of migration, what the second column names in lower case with an underscore or a dot."""
    text = (REPOSITORY / "docs" / "migration.md").read_text()
    reference = (REPOSITORY / "docs" / "configuration.md").read_text()
    plugins = {name for kind in KINDS for name in plugin_names(kind)}
    cells = [line.rsplit("|", 2)[1] for line in text.splitlines() if line.startswith("| ")]
    named = {word for cell in cells for word in re.findall(r"`([a-z]+[_.][a-z_.]+)[ `]", cell)}
    known = {*plugins, "pod_name", "namespace_name", "container_name", "pod_id", "docker_id", "container_hash"}
    known |= {"docker.container_id", "container_image_id", "master_url", "namespace_id", "start_state", "time_format"}
    known |= {"time_key", "node_name", "positions.yaml", "pos_file"}

    assert len(named) > 20
    assert sorted(name for name in named - known if f"`{name}`" not in reference) == []
