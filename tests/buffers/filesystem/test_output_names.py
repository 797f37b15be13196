"""Names of outputs in stored files: an alias is one, and whoever has none goes by the destination."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.buffers.filesystem.output_names import Known, load_known, save_known, stored_names
from shipper.config.destination import Destination
from shipper.disk import SystemDisk


def outputs(text: str) -> list[Destination]:
    """Outputs such as `http.0=x/1`: name, place, and after the slash what else was written; `!` behind an alias."""
    found = []
    for word in text.split():
        name, _, written = word.partition("=")
        found.append(Destination(name.rstrip("!"), name.endswith("!"), written.partition("/")[0], written))
    return found


def known(text: str) -> Known:
    return {output.name: (output.place, output.whole) for output in outputs(text)}


@pytest.mark.parametrize(
    ("before", "now", "names"),
    [
        ("", "http.0=x http.1=y", "http.0 http.1"),
        ("http.0=x http.1=y", "http.0=x http.1=y", "http.0 http.1"),
        ("http.0=x http.1=y", "http.0=y", "http.1"),
        ("http.0=x", "http.0=new http.1=x", "http.0~new http.0"),
        ("http.0=x", "http.0=y", "http.0"),
        ("http.0=x http.1=y", "http.0=z http.1=y", "http.0 http.1"),
        ("http.0=x http.1=y", "http.0=z", "http.0~z"),
        ("http.0=x http.1=y", "http.0=y http.1=z", "http.1 http.1~z"),
        ("http.0=x", "http.0=y http.1=z", "http.0~y http.1"),
        ("http.0=x http.0~y=y", "http.0=y", "http.0~y"),
        ("http.0=x http.0~y=y", "http.0=x", "http.0"),
        ("http.0=x/1", "http.0=x/2", "http.0"),
        ("http.0=x/1 http.1=x/2", "http.0=x/2", "http.1"),
        ("http.0=x/1 http.1=x/2", "http.0=x/2 http.1=x/1", "http.1 http.0"),
        ("http.0=x/1 http.1=x/2", "http.0=x/3 http.1=x/4", "http.0 http.1"),
        ("http.0=x", "http.0=x http.1=x", "http.0 http.1"),
        ("main=x", "main!=y", "main"),
        ("http.0=x", "http.0!=y http.1=x", "http.0 http.1"),
        ("main=x", "http.0=x", "main"),
        ("http.0=x", "main!=x", "main"),
        ("http.0=x", "loki.0=y", "loki.0"),
    ],
)
def test_an_output_goes_by_the_name_that_its_destination_had(before: str, now: str, names: str) -> None:
    found = stored_names(outputs(now), known(before))

    assert [found[output.name] for output in outputs(now)] == names.split()


def test_what_is_known_is_found_again(tmp_path: Path) -> None:
    save_known(SystemDisk(), str(tmp_path), known("http.0=x http.1=y/2"))

    assert load_known(SystemDisk(), str(tmp_path)) == {"http.0": ("x", "x"), "http.1": ("y", "y/2")}


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"http.0": 1}'])
def test_what_cannot_be_understood_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        save_known(SystemDisk(), str(tmp_path), {})
        (tmp_path / "shipper" / ".outputs" / "names").write_bytes(content)

    assert load_known(SystemDisk(), str(tmp_path)) == {}
