"""The account of every record: read = delivered + held + dropped for a named reason.

For an input: what was read, plus what filters added, was stored for at least one output, taken out by filters, had no
route, is held by a filter that keeps records back, or was dropped: by the input itself, or by a filter that failed. For
an output: what was routed to it, plus what its processors added, was delivered, is held, or was dropped. Both sides are
counted apart from each other, so a difference shows a mistake of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .dispatcher import Dispatcher
from .intake import FILTER_FAILED, NO_ROUTE
from .metrics import Metrics


class InputAccount(msgspec.Struct, frozen=True):
    """Records of one input; `held` are those that filters keep back, `dropped` is by reason."""

    name: str
    read: int
    added: int
    stored: int
    filtered: int
    no_route: int
    held: int = 0
    dropped: dict[str, int] = {}

    @property
    def is_balanced(self) -> bool:
        dropped = sum(self.dropped.values())
        return self.read + self.added == self.stored + self.filtered + self.no_route + self.held + dropped

    def __str__(self) -> str:
        held = f"held={self.held} " if self.held else ""
        dropped = f"{_dropped(self.dropped)} " if self.dropped else ""
        return (
            f"input {self.name}: read={self.read} added={self.added} stored={self.stored} "
            f"filtered={self.filtered} no_route={self.no_route} {held}{dropped}{_verdict(self.is_balanced)}"
        )


class OutputAccount(msgspec.Struct, frozen=True):
    """Records of one output; `dropped` is by reason."""

    name: str
    routed: int
    delivered: int
    held: int
    dropped: dict[str, int]
    added: int = 0

    @property
    def is_balanced(self) -> bool:
        return self.routed + self.added == self.delivered + self.held + sum(self.dropped.values())

    def __str__(self) -> str:
        added = f"added={self.added} " if self.added else ""
        return (
            f"output {self.name}: routed={self.routed} {added}delivered={self.delivered} held={self.held} "
            f"{_dropped(self.dropped)} {_verdict(self.is_balanced)}"
        )


class Ledger:
    """Draws up the accounts of the inputs and outputs of an engine."""

    def __init__(self, metrics: Metrics, inputs: Sequence[str], outputs: Sequence[Dispatcher]) -> None:
        self._metrics = metrics
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def inputs(self) -> list[InputAccount]:
        """The accounts of the inputs as they stand now."""
        return [self._input(name) for name in self._inputs]

    def outputs(self) -> list[OutputAccount]:
        """The accounts of the outputs as they stand now."""
        return [self._output(dispatcher) for dispatcher in self._outputs]

    def lines(self) -> list[str]:
        """One line per account, for the log."""
        return [str(account) for account in (*self.inputs(), *self.outputs())]

    def _input(self, name: str) -> InputAccount:
        def count(what: str) -> int:
            return self._metrics.total(f"input_{what}_records_total", name=name)

        reasons = self._metrics.by_label("input_dropped_records_total", "reason", name=name)
        no_route = reasons.pop(NO_ROUTE, 0)
        dropped = {reason: n for reason, n in reasons.items() if n}
        # What an input drops itself it does not emit, so it is not among the records that came from it.
        never_emitted = sum(dropped.values()) - dropped.get(FILTER_FAILED, 0)
        read = self._metrics.total("input_records_total", name=name) + never_emitted
        held = int(self._metrics.value("input_held_records", name=name))
        return InputAccount(name, read, count("added"), count("stored"), count("filtered"), no_route, held, dropped)

    def _output(self, dispatcher: Dispatcher) -> OutputAccount:
        metrics, name = self._metrics, dispatcher.name
        return OutputAccount(
            name,
            metrics.total("routing_records_total", output=name),
            metrics.total("output_proc_records_total", name=name),
            dispatcher.held()[0],
            metrics.by_label("output_dropped_records_total", "reason", name=name),
            metrics.total("output_added_records_total", name=name),
        )


def _dropped(reasons: Mapping[str, int]) -> str:
    named = "".join(f" dropped.{reason.replace(' ', '_')}={n}" for reason, n in sorted(reasons.items()))
    return f"dropped={sum(reasons.values())}{named}"


def _verdict(is_balanced: bool) -> str:
    return "balanced" if is_balanced else "NOT BALANCED"
