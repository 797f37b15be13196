"""Every configuration of the demonstration, the benchmarks and the fault tests can be loaded as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli import main

_REPOSITORY = Path(__file__).parents[2]
_FILES = [
    file
    for folder in ("config/quickstart", "bench/pipelines", "tests/faults")
    for file in sorted((_REPOSITORY / folder).rglob("*.conf"))
]


@pytest.mark.parametrize("file", _FILES, ids=lambda f: str(f.relative_to(_REPOSITORY)))
def test_a_configuration_passes_the_dry_run(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LOGS", "STATE", "LOG_DIR", "STATE_DIR", "CORPUS"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("SINK_PORT", "SINK_TLS_PORT", "MONITOR_PORT"):
        monkeypatch.setenv(name, "9999")
    monkeypatch.setenv("GRACE", "5")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9999")

    code = main(["--dry-run", "-c", str(file)])

    told = capsys.readouterr()
    assert code == 0, told.err
    assert "warn" not in told.out + told.err
