"""Help, reference page and JSON, all derived from the declared options."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import field

from shipper.config.options import Options, declared_options, opt
from shipper.config.reference import PAGE, plugin_help, plugins_json, reference_page, shown_default
from shipper.config.units import BinaryByteSize, ByteSize, PlainSeconds, Seconds
from shipper.outputs.null import NullOutput
from shipper.plugins import KINDS, plugin_names


class SampleOptions(Options):
    """One option of each type."""

    must: Annotated[str, opt("Needed.")]
    text: Annotated[str, opt("Text.")] = "abc"
    nothing: Annotated[str | None, opt("Nothing.")] = None
    several: Annotated[tuple[str, ...], opt("Several.")] = ()
    switch: Annotated[bool, opt("Switch.")] = True
    number: Annotated[int, opt("Number.")] = -1
    fraction: Annotated[float, opt("Fraction.")] = 0.5
    size: Annotated[ByteSize, opt("Size.")] = ByteSize(5_000_000)
    odd_size: Annotated[ByteSize, opt("Size.")] = ByteSize(32_768)
    binary: Annotated[BinaryByteSize, opt("Size.")] = BinaryByteSize(2_097_152)
    no_size: Annotated[ByteSize, opt("Size.")] = field(default=ByteSize(0), name="no.size")
    wait: Annotated[Seconds, opt("Wait.")] = Seconds(90)
    plain: Annotated[PlainSeconds, opt("Wait.")] = PlainSeconds(60)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("must", "required"),
        ("text", "abc"),
        ("nothing", ""),
        ("several", ""),
        ("switch", "on"),
        ("number", "-1"),
        ("fraction", "0.5"),
        ("size", "5M"),
        ("odd_size", "32768"),
        ("binary", "2M"),
        ("no.size", "0"),
        ("wait", "90s"),
        ("plain", "60"),
    ],
)
def test_default_is_shown_as_it_would_be_written(name: str, shown: str) -> None:
    declared = next(d for d in declared_options(SampleOptions) if d.name == name)

    assert shown_default(declared) == shown


def test_reference_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == reference_page(), "run: python -m shipper.config.reference"


def test_page_tells_shared_options_once() -> None:
    page = reference_page()

    assert page.count("| `retry_limit` |") == 1
    assert page.count("### Options of every output\n") == 1
    assert "[options of every output](#options-of-every-output)" in page


def test_page_has_a_part_for_every_plugin() -> None:
    page = reference_page()

    assert [name for kind in KINDS for name in plugin_names(kind) if f"\n### {name}\n" not in page] == []


def test_table_rows_have_four_cells() -> None:
    rows = [line for line in reference_page().splitlines() if line.startswith("|")]

    assert {row.replace("\\|", "").count("|") for row in rows} == {5}


def test_help_shows_type_default_and_meaning_of_own_options_first() -> None:
    lines = plugin_help("output", "null", NullOutput).splitlines()

    assert lines[0] == "null (output): Take records and forget them."
    assert lines.index("  format  (text, msgpack)") < lines.index("  match  (text)")


def test_json_describes_every_plugin_and_option() -> None:
    schema: dict[str, Any] = msgspec.json.decode(plugins_json())

    null = next(plugin for plugin in schema["outputs"] if plugin["name"] == "null")
    option = next(o for o in null["properties"]["options"] if o["name"] == "json_date_key")
    assert schema["fluent-bit"]["version"] == "5.1.1"
    assert (option["type"], option["default"], option["required"]) == ("text", "date", False)
    assert "match" in [o["name"] for o in null["properties"]["global_options"]]
