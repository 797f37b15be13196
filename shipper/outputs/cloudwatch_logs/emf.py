"""Records of the cpu and mem inputs in the embedded metric format, which CloudWatch turns into metrics."""

from __future__ import annotations

import msgspec

from ...record import RecordBatch

_KINDS = ((b'{"Mem.total":', "Bytes", ("Mem.", "Swap.")), (b'{"cpu_p":', "Percent", ("cpu_", "user_p", "system_p")))
_FIRST_KEYS = tuple(first_key for first_key, _, _ in _KINDS)
_encode = msgspec.json.encode


class MetricFormat:
    """Wraps records of metrics with the description that CloudWatch reads.

    A batch does not say which input made it, so its first record is looked at: only the cpu and mem inputs begin their
    records with these keys.
    """

    def __init__(self, namespace: str, dimensions: list[list[str]]) -> None:
        self._namespace = namespace
        self._dimensions = dimensions

    def describes(self, lines: bytes) -> bool:
        """Whether the JSON texts of a batch, one a line, are metrics."""
        return lines.startswith(_FIRST_KEYS)

    def wrapped(self, lines: bytes, batch: RecordBatch) -> bytes:
        """The JSON texts of a batch, one a line, with a description in front if they are metrics."""
        if not self.describes(lines):
            return lines
        for first_key, unit, prefixes in _KINDS:
            if lines.startswith(first_key):
                times_s = [t // 1_000_000_000 for t in batch.content.times_ns()]
                texts = lines.splitlines()
                return b"".join(self._wrap(*one, unit, prefixes) + b"\n" for one in zip(texts, times_s, strict=True))
        return lines

    def _wrap(self, text: bytes, time_s: int, unit: str, prefixes: tuple[str, ...]) -> bytes:
        keys = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        metrics = [{"Name": key, "Unit": unit} for key in keys if key.startswith(prefixes)]
        described = {"Namespace": self._namespace, "Dimensions": self._dimensions, "Metrics": metrics}
        head = _encode({"Timestamp": time_s * 1000, "CloudWatchMetrics": [described]})
        return b'{"_aws":%b,%b' % (head, text[1:])


def parse_dimensions(text: str) -> list[list[str]]:
    """Read `d1,d2;d3` as `[["d1","d2"],["d3"]]`."""
    return [one.split(",") for one in text.split(";") if one]
