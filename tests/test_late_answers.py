"""Which inputs are told of that answer their senders later than these wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli import load_pipeline
from shipper.command_line import parse_command_line

S3 = "[OUTPUT]\n    name s3\n    region x\n    bucket b\n    match"


@pytest.mark.parametrize(
    ("service", "http", "outputs", "is_told"),
    [
        ("", "", f"{S3} *", True),
        ("", "tag web", f"{S3} web", True),
        ("", "tag web", f"{S3} other", False),
        ("", "", f"{S3} *\n    upload_timeout 10s", False),
        ("", "answer_after buffered", f"{S3} *", False),
        ("storage.path {folder}", "storage.type filesystem", f"{S3} *", False),
        ("storage.path {folder}\n    storage.type filesystem\n    storage.inherit on", "", f"{S3} *", False),
        ("", "", "[OUTPUT]\n    name stdout\n    match *", False),
    ],
)
def test_an_output_that_collects_for_longer_than_clients_wait_is_told(
    tmp_path: Path, service: str, http: str, outputs: str, is_told: bool
) -> None:
    configuration = tmp_path / "shipper.conf"
    section = f"[SERVICE]\n    flush 1\n    {service.format(folder=tmp_path)}\n"
    configuration.write_text(f"{section}[INPUT]\n    name http\n    {http}\n{outputs}\n")
    warnings: list[str] = []

    load_pipeline(parse_command_line(["-c", str(configuration)]), {}, warnings)

    assert any("collects for up to 600 s - add storage.type filesystem" in one for one in warnings) is is_told
