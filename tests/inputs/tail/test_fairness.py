"""Files take turns by bytes: what one pod writes in a flood does not delay the others."""

from __future__ import annotations

from pathlib import Path

from shipper.inputs.tail.assembly import LineAssembler
from shipper.inputs.tail.follower import Follower
from shipper.inputs.tail.turns import Turns

from .running import Tail, numbered, write


async def test_a_flood_in_one_file_delays_another_by_a_block(tmp_path: Path) -> None:
    flood, quiet = tmp_path / "a.log", tmp_path / "b.log"
    write(flood, *[f"{n:06d} {'x' * 90}" for n in range(20_000)])
    write(quiet, *numbered(1, 10))

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nevent_batch_size 100000") as tail:
        await tail.has(20_010)

    place = place_of(tail, numbered(1, 1)[0])
    assert place is not None
    assert sum(batch.size for batch in tail.batches[:place]) <= 200_000


async def test_a_file_of_small_pieces_gets_its_share_beside_one_of_large_blocks(tmp_path: Path) -> None:
    large, small = tmp_path / "a.log", tmp_path / "b.log"
    write(large, *["x" * 99 for _ in range(6_000)])
    # Lines that end blocks early: each is a bit more than half a block long.
    write(small, *["y" * 59_999 for _ in range(10)])

    async with Tail(
        f"path {tmp_path}/*.log\nread_from_head on\nevent_batch_size 100000\nbuffer_max_size 70000"
    ) as tail:
        await tail.has(6_010)

    sizes = {"x": 0, "y": 0}
    for batch in tail.batches:
        sizes[str(batch.content.bodies()[0]["log"])[0]] += batch.size
        if min(600_000 - sizes["x"], 600_000 - sizes["y"]) <= 0:
            break
        assert abs(sizes["x"] - sizes["y"]) <= 220_000, sizes


def place_of(tail: Tail, text: str) -> int | None:
    """Which batch has this line."""
    for place, batch in enumerate(tail.batches):
        if any(body["log"] == text for body in batch.content.bodies()):
            return place
    return None


def follower(path: str) -> Follower:
    return Follower(path, "t", LineAssembler.__new__(LineAssembler), None, None, print, print)  # type: ignore[arg-type]


def test_what_was_read_beyond_the_quantum_is_waited_for() -> None:
    turns = Turns(100)
    turns.add(follower("/a"))
    turns.round()
    turns.spend("/a", 250)

    assert [has_turn_in_next_round(turns) for _ in range(3)] == [False, False, True]


def has_turn_in_next_round(turns: Turns) -> bool:
    turns.round()
    return turns.has_turn("/a")


def test_credit_is_not_saved_up() -> None:
    turns = Turns(100)
    turns.add(follower("/a"))
    for _ in range(5):
        turns.round()
    turns.spend("/a", 100)

    assert not turns.has_turn("/a")
    assert [has_turn_in_next_round(turns), has_turn_in_next_round(turns)] == [True, True]


def test_a_file_that_was_read_to_its_end_leaves_the_round_and_keeps_a_debt_alone() -> None:
    turns = Turns(100)
    turns.add(follower("/a"))
    turns.round()
    turns.spend("/a", 180)
    turns.remove("/a")

    assert not turns
    turns.add(follower("/a"))
    turns.round()
    assert not turns.has_turn("/a")


def test_a_read_that_gave_nothing_ends_the_turn() -> None:
    turns = Turns(100)
    turns.add(follower("/a"))
    turns.round()
    turns.spend("/a", 0)

    assert not turns.has_turn("/a")
