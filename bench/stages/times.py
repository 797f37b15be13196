"""Times in texts into nanoseconds since the epoch: some hundred in each second, as lines come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shipper.parsers.container_time import container_time_ns
from shipper.parsers.time_format import TimeFormat

from .measuring import Stage

_START = datetime(2026, 11, 20, 10, tzinfo=UTC)
_COUNT = 3_000
_STEP = timedelta(milliseconds=2)
_TIMES = [_START + _STEP * number for number in range(_COUNT)]
_EXPECTED = [int(_START.timestamp()) * 10**9 + number * 2_000_000 for number in range(_COUNT)]


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.%f000Z", "%Y-%m-%dT%H:%M:%S.%f000+00:00"], ids=["Z", "offset"])
def test_container_time(stage: Stage, form: str) -> None:
    texts = [time.strftime(form) for time in _TIMES]

    found = stage.measure(lambda: list(map(container_time_ns, texts)), records=_COUNT)

    assert found == _EXPECTED


@pytest.mark.parametrize(
    ("form", "written", "has_fraction"),
    [
        ("%Y-%m-%dT%H:%M:%S.%L%z", "%Y-%m-%dT%H:%M:%S.%f+0000", True),
        ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S +0000", False),
        ("%b %d %H:%M:%S", "%b %d %H:%M:%S", False),
        ("%s.%L", "", True),
    ],
    ids=["ISO 8601", "access log", "syslog", "seconds"],
)
def test_time_format(stage: Stage, form: str, written: str, has_fraction: bool) -> None:
    texts = [time.strftime(written) if written else f"{time.timestamp():.6f}" for time in _TIMES]
    parse = TimeFormat(form, now=lambda: _EXPECTED[0]).parse

    found = stage.measure(lambda: list(map(parse, texts)), records=_COUNT)

    assert found == [time if has_fraction else time // 10**9 * 10**9 for time in _EXPECTED]
