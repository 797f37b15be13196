"""A tail input with a database, which follows the file `path` of the test's own module."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "p.db"


@pytest.fixture
def options(path: Path, db: Path) -> str:
    return f"path {path}\nread_from_head on\ndb {db}"
