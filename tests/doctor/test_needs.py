"""What configurations need of their pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli import load_pipeline
from shipper.command_line import CommandLine
from shipper.doctor.needs import PROCESS_MEMORY, Needs, Source, State, needs_of


def needs(folder: Path, inputs: str, service: str = "") -> Needs:
    path = folder / "c.conf"
    path.write_text(f"[SERVICE]\n{service}\n{inputs}\n[OUTPUT]\n name null\n match *\n")
    return needs_of(load_pipeline(CommandLine(config_file=str(path)), {}, []))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/var/log/app/*.log", Source("path /var/log/app/*.log of tail.0", "/var/log/app", is_pattern=True)),
        ("/var/*/x.log", Source("path /var/*/x.log of tail.0", "/var", is_pattern=True)),
        ("/*.log", Source("path /*.log of tail.0", "/", is_pattern=True)),
        ("*.log", Source("path *.log of tail.0", ".", is_pattern=True)),
        ("/var/log/syslog", Source("path /var/log/syslog of tail.0", "/var/log/syslog")),
    ],
)
def test_a_pattern_needs_the_folder_before_its_first_wildcard(tmp_path: Path, path: str, source: Source) -> None:
    assert needs(tmp_path, f"[INPUT]\n name tail\n path {path}\n").sources == (source,)


def test_links_of_containers_need_the_folder_that_they_lead_to(tmp_path: Path) -> None:
    found = needs(tmp_path, "[INPUT]\n name tail\n path /var/log/containers/*.log, /var/log/containers/a.log\n")

    assert [source.path for source in found.sources].count("/var/log/pods") == 1


def test_the_folder_of_an_output_to_s3_has_to_be_writable(tmp_path: Path) -> None:
    lines = "name s3\n match *\n bucket b\n store_dir /home\n store_dir_limit_size 900M\n"
    found = needs(tmp_path, f"[INPUT]\n name dummy\n[OUTPUT]\n {lines}")

    store = State("store_dir of s3.0", "/home", is_kept=False, bounded_by="store_dir_limit_size", most=900_000_000)
    assert found.states == (store,)


def test_databases_and_storage_have_to_last(tmp_path: Path) -> None:
    tail = "[INPUT]\n name tail\n alias logs\n path /a/*.log\n db /s/tail.db\n"
    found = needs(tmp_path, f"{tail}[INPUT]\n name dummy\n", " storage.path /s/storage\n")

    source = Source("path /a/*.log of logs", "/a", is_pattern=True)
    assert found.states == (State("DB of logs", "/s/tail.db", (source,)), State("storage.path", "/s/storage"))


@pytest.mark.parametrize(
    ("section", "size"),
    [
        ("name dummy", 64_000_000),
        ("name dummy\n mem_buf_limit 5M", 5_000_000),
        ("name dummy\n mem_buf_limit 500M", 500_000_000),
        ("name tail\n path /a", 16_000_000),
        ("name tail\n path /a\n mem_buf_limit 5M", 5_000_000),
        ("name tail\n path /a\n mem_buf_limit 50M", 16_000_000),
        ("name dummy\n storage.type filesystem", 24_000_000),
        ("name dummy\n storage.type filesystem\n mem_buf_limit 5M", 5_000_000),
    ],
)
def test_an_input_needs_the_memory_that_bounds_its_records(tmp_path: Path, section: str, size: int) -> None:
    """A Mem_Buf_Limit counts as far as our own bounds let it."""
    found = needs(tmp_path, f"[INPUT]\n {section}\n", " storage.path /s\n")

    assert found.held[0][1] == size
    assert found.memory == PROCESS_MEMORY + size


@pytest.mark.parametrize(("service", "grace"), [("", 5), (" grace 25", 25), (" grace -1", -1)])
def test_grace_is_that_of_the_service(tmp_path: Path, service: str, grace: float) -> None:
    assert needs(tmp_path, "[INPUT]\n name dummy\n", service).grace == grace
