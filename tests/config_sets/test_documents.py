"""The pages about migration and operation: that what they name exists."""

from __future__ import annotations

import re

import pytest

from shipper.plugins import KINDS, plugin_names
from tests.components.shipper_process import REPOSITORY

PAGES = ("README.md", "docs/migration.md", "docs/operations.md")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name: str) -> None:
    page = REPOSITORY / name
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]

    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_metrics_that_are_to_be_watched_exist() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    code = "\n".join(path.read_text() for path in (REPOSITORY / "shipper").rglob("*.py"))
    named = set(re.findall(r"\b(?:shipper|fluentbit)_((?:input|output|engine)_[a-z_]+)", text))

    # The registry adds the area of a component to what it counts: "dropped_records_total" of an output.
    parts = {name: name.partition("_")[2] for name in named}
    assert len(named) > 8
    assert [name for name, part in parts.items() if f'"{name}"' not in code and f'"{part}"' not in code] == []


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
