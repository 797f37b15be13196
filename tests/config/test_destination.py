"""Which changes of its section make an output another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.destination import Destination, destination_of
from shipper.config.environment import Environment
from shipper.config.load import load_file
from shipper.config.options import read_options
from shipper.plugins import find_plugin


def destination(folder: Path, lines: str, **variables: str) -> Destination:
    """That of an output with these lines, which are divided by semicolons."""
    path = folder / "c.conf"
    path.write_text("[OUTPUT]\n" + "".join(f"    {line.strip()}\n" for line in lines.split(";")))
    section = load_file(str(path), Environment(variables)).outputs[0]
    name = section.get("name") or ""
    plugin = find_plugin("output", name)
    assert plugin is not None
    options = read_options(plugin.Options, section, name, [], lambda remark: None)
    assert options is not None
    return destination_of(f"{name}.0", name, options, section)


BASE = "name http; match *; host a; port 8080; uri /in; http_passwd one"


@pytest.mark.parametrize(
    ("lines", "is_same_place"),
    [
        (BASE, True),
        (BASE.replace("host a", "host b"), False),
        (BASE.replace("8080", "8081"), False),
        (BASE.replace("/in", "/out"), False),
        (BASE.replace("name http", "name loki"), False),
        (f"{BASE}; compress gzip; retry_limit 7; workers 2", True),
        (BASE.replace("match *", "match app.*"), True),
        ("http_passwd two; uri /in; port 8080; host a; match *; name http", True),
    ],
)
def test_where_it_sends_is_what_counts(tmp_path: Path, lines: str, is_same_place: bool) -> None:
    assert (destination(tmp_path, lines).place == destination(tmp_path, BASE).place) is is_same_place


def test_a_default_that_is_written_out_changes_nothing(tmp_path: Path) -> None:
    plain = "name loki; host a"

    assert destination(tmp_path, plain).place == destination(tmp_path, f"{plain}; uri /loki/api/v1/push").place


def test_variables_count_as_they_are_written(tmp_path: Path) -> None:
    first = destination(tmp_path, "name file; path /out/${POD}", POD="shop-1")
    later = destination(tmp_path, "name file; path /out/${POD}", POD="shop-2")
    other = destination(tmp_path, "name file; path /other/${POD}", POD="shop-1")

    assert first == later
    assert first.place != other.place


def test_outputs_to_one_place_are_told_by_the_rest_but_not_by_secrets(tmp_path: Path) -> None:
    base, tuned = destination(tmp_path, BASE), destination(tmp_path, f"{BASE}; format json_lines")
    renewed = destination(tmp_path, BASE.replace("one", "two"))

    assert base.whole != tuned.whole
    assert base.whole == renewed.whole
