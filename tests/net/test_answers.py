"""Answers are read the same however their bytes are cut."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.net.answers import AnswerReader, BadAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@given(st.sampled_from([PLAIN, CHUNKED, INTERIM, EMPTY]), st.lists(st.integers(1, 9), max_size=60))
def test_any_cut_gives_the_same_answer(data: bytes, cuts: list[int]) -> None:
    reader = AnswerReader(100)
    rest = data
    for size in cuts:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)

    assert reader.answer is not None
    assert reader.answer.body == (b"" if data is EMPTY else b"hello")
    assert reader.may_be_kept


def test_headers_are_in_lower_case_and_joined() -> None:
    reader = AnswerReader(100)
    reader.feed(PLAIN)

    assert reader.answer is not None
    assert (reader.answer.status, reader.answer.headers) == (200, {"content-length": "5", "x-a": "1, 2"})


def test_an_answer_without_length_ends_with_the_connection() -> None:
    reader = AnswerReader(100)
    reader.feed(b"HTTP/1.0 500 Oops\r\n\r\nno")
    before = reader.answer
    reader.end()

    assert before is None
    assert reader.answer is not None
    assert (reader.answer.text, reader.may_be_kept) == ("no", False)


@pytest.mark.parametrize("head", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_long_answer_is_cut_and_its_connection_given_up(head: bytes) -> None:
    reader = AnswerReader(10)
    reader.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    reader.feed(b"3e8\r\n" + b"x" * 1000 if b"chunked" in head else b"x" * 500)

    assert reader.answer is not None
    assert (reader.answer.body, reader.may_be_kept) == (b"x" * 10, False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        AnswerReader(100).feed(data)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 204 X\r\n\r\n", False),
        (b"HTTP/1.0 204 X\r\nConnection: keep-alive\r\n\r\n", True),
        (EMPTY + b"HTTP/1.1 204", False),
    ],
)
def test_whether_a_connection_is_kept(data: bytes, kept: bool) -> None:
    reader = AnswerReader(100)
    reader.feed(data)

    assert reader.may_be_kept is kept


def test_the_status_of_an_answer_without_a_body_is_known() -> None:
    reader = AnswerReader(100)
    reader.feed(EMPTY)

    assert reader.status == 204


def test_an_answer_leaves_memory_with_its_last_user() -> None:
    """A list of megabytes must not stay until the garbage collector comes, which it does rarely."""
    gc.disable()
    try:
        reader = AnswerReader(100)
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        gone = weakref.ref(reader)
        del reader

        assert gone() is None
    finally:
        gc.enable()
