from __future__ import annotations

import pytest

from shipper.record import SOMEWHERE, Origin, Receipt, Record, RecordBatch, RecordList
from shipper.testing import BlockContent, batch_of


def test_a_receipt_is_settled_when_all_who_share_it_have_paid() -> None:
    told: list[str] = []
    receipt = Receipt(lambda: told.append("settled"))
    receipt.share(2)
    receipt.settle()
    receipt.settle()
    before = (receipt.is_settled, list(told))
    receipt.settle()

    assert before == (False, [])
    assert (receipt.is_settled, told) == (True, ["settled"])


def test_a_receipt_cannot_be_paid_twice() -> None:
    receipt = Receipt()
    receipt.settle()

    with pytest.raises(RuntimeError, match="more often"):
        receipt.settle()


def test_a_settled_receipt_cannot_be_shared() -> None:
    receipt = Receipt()
    receipt.settle()

    with pytest.raises(RuntimeError, match="cannot be shared"):
        receipt.share()


def test_what_somebody_waits_for_can_be_read_again_somewhere_if_not_told_where() -> None:
    place = Origin("file", 0, 5)

    assert Receipt().origin is None
    assert Receipt(lambda: None).origin == SOMEWHERE
    assert Receipt(lambda: None, place).origin == place


def test_records_of_other_content_are_made_once_and_then_belong_to_the_batch() -> None:
    batch = RecordBatch("t", BlockContent([{"n": 1}]), 5)
    batch.records[0].body["n"] = 2

    assert [r.body for r in batch] == [{"n": 2}]
    assert batch.content.bodies() == [{"n": 2}]


def test_new_records_take_the_place_of_the_content_and_the_size_is_carried() -> None:
    batch = batch_of("a", "b")
    batch.records = batch.records[:1]

    assert (len(batch), batch.size) == (1, 4)


@pytest.mark.parametrize(("metadata", "expected"), [(None, False), ({}, False), ({"a": 1}, True)])
def test_a_list_knows_whether_any_record_has_metadata(metadata: dict[str, int] | None, expected: bool) -> None:
    content = RecordList([Record(0, {}), Record(0, {}, metadata)])

    assert content.has_metadata is expected


def test_the_views_of_a_list_are_of_the_same_records() -> None:
    content = RecordList([Record(1, {"a": 1}), Record(2, {"b": 2})])

    assert (content.times_ns(), content.bodies(), len(content)) == ([1, 2], [{"a": 1}, {"b": 2}], 2)


def test_a_batch_tells_what_it_is() -> None:
    assert repr(batch_of("a")) == "RecordBatch('test', 1 records, 2 bytes, Receipt(owed=1))"
