"""The age of the oldest unread byte, against a model that remembers it of every byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.inputs.tail.lag import MOST_MARKS, Lag

WRITTEN, READ, TRUNCATED = "written", "read", "truncated"

steps = st.lists(
    st.tuples(st.sampled_from([WRITTEN, WRITTEN, READ, READ, TRUNCATED]), st.integers(0, 50), st.integers(0, 5))
)


@given(steps)
def test_the_age_is_that_of_the_oldest_unread_byte(changes: list[tuple[str, int, int]]) -> None:
    lag, now, read = Lag(), 0, 0
    seen_at: list[int] = []
    for change, size, pause in changes[:MOST_MARKS]:
        now += pause
        if change == WRITTEN:
            seen_at += [now] * size
        elif change == READ:
            taken = min(size, len(seen_at))
            read, seen_at = read + taken, seen_at[taken:]
        else:
            seen_at = seen_at[: len(seen_at) - min(size, len(seen_at))]
        lag.note(read, len(seen_at), now)

        assert lag.age_s(now) == (now - seen_at[0] if seen_at else 0)


def test_many_marks_make_the_age_larger_and_never_smaller() -> None:
    lag, seen_at = Lag(), dict[int, int]()
    for now in range(1000):
        seen_at[now] = now
        lag.note(0, now + 1, now)
    found = []
    for read in range(999):
        lag.note(read, 1000 - read, 1000)
        found.append((1000 - seen_at[read], lag.age_s(1000)))

    assert all(true <= told <= true + 1000 for true, told in found)
    assert [told for _, told in found] == sorted((told for _, told in found), reverse=True)
    assert found[-1][1] < 100
    assert len(lag._marks) <= MOST_MARKS
