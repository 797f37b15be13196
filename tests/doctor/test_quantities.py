"""Quantities as Kubernetes writes them."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.doctor.quantities import parse_quantity


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        (128974848, 128974848),
        ("129e6", 129_000_000),
        ("1E3", 1000),
        ("129M", 129_000_000),
        ("128974848000m", 128974848),
        ("123Mi", 128974848),
        ("0.5Gi", 536870912),
        (".5k", 500),
        ("1.", 1),
        ("1Ti", 1024**4),
        ("2E", 2 * 10**18),
        (1.5e8, 150_000_000),
        (" 1Ki ", 1024),
    ],
)
def test_quantity_is_read_as_bytes(written: Any, bytes_: int) -> None:
    assert parse_quantity(written) == bytes_


@pytest.mark.parametrize("written", ["", "128 Mi", "128MB", "128mi", "Mi", "-5", "1e400", True, None, [1]])
def test_what_is_no_quantity_is_none(written: Any) -> None:
    assert parse_quantity(written) is None
