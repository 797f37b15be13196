from __future__ import annotations

from shipper.buffers.memory import MemoryBuffer
from shipper.dispatcher import Dispatcher
from shipper.ledger import InputAccount, Ledger, OutputAccount
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.testing import MemoryOutput, batch_of, context_of

from .faults.ledger import assert_balanced, read_ledger


def ledger_of(metrics: Metrics) -> Ledger:
    return Ledger(metrics, ["in.0"], [])


def test_what_an_input_drops_before_it_emits_counts_as_read() -> None:
    context = context_of("input", "in.0")
    context.counter("records_total").add(5)
    context.counter("stored_records_total").add(5)
    context.dropped(2, 20, "ignore_older", wanted=True)

    (account,) = ledger_of(context.metrics).inputs()

    assert str(account) == (
        "input in.0: read=7 added=0 stored=5 filtered=0 no_route=0 dropped=2 dropped.ignore_older=2 balanced"
    )


def test_bytes_that_are_no_records_leave_the_account_as_it_is() -> None:
    context = context_of("input", "in.0")
    context.dropped(0, 20, "line_too_long")

    assert ledger_of(context.metrics).lines() == [
        "input in.0: read=0 added=0 stored=0 filtered=0 no_route=0 balanced",
    ]


def test_a_record_that_nobody_accounts_for_shows() -> None:
    account = InputAccount("in.0", read=3, added=0, stored=1, filtered=1, no_route=0)

    assert str(account).endswith("NOT BALANCED")


def test_records_that_filters_hold_are_told_only_if_there_are_any() -> None:
    account = InputAccount("in.0", read=3, added=0, stored=1, filtered=0, no_route=0, held=2)

    assert str(account) == "input in.0: read=3 added=0 stored=1 filtered=0 no_route=0 held=2 balanced"


def test_an_output_tells_its_drops_by_reason() -> None:
    account = OutputAccount("out.0", routed=9, delivered=4, held=2, dropped={"too_old": 1, "no such stream": 2})

    assert str(account) == (
        "output out.0: routed=9 delivered=4 held=2 dropped=3 dropped.no_such_stream=2 dropped.too_old=1 balanced"
    )


def test_what_waits_in_the_buffer_of_an_output_is_held() -> None:
    context = context_of("output", "out.0")
    dispatcher = Dispatcher(MemoryOutput(), context, 1, None, Backoff(1, 1))
    buffer = MemoryBuffer("in.0", 1000, context.clock, Log(""))
    dispatcher.attach("in.0", buffer)
    buffer.put(batch_of("a", "b"), ["out.0"])
    context.metrics.counter("routing_records_total", input="in.0", output="out.0").add(2)

    (account,) = Ledger(context.metrics, [], [dispatcher]).outputs()

    assert (account.held, account.is_balanced) == (2, True)


def test_the_readers_of_the_log_understand_every_account() -> None:
    accounts = [
        InputAccount("tail.0", 9, 1, 4, 2, 1, held=1, dropped={"filter_failed": 2}),
        OutputAccount("null.0", 4, 3, 0, {"too_old": 1}),
    ]

    ledger = read_ledger("\n".join(f"[engine] ledger {account}" for account in accounts))

    assert_balanced(ledger)
    assert set(ledger) == {"tail.0", "null.0"}
