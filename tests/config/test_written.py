"""Values that know where they were written, and values of several words."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import msgspec
import pytest

from shipper.config.options import Options, Written, opt
from shipper.config.words import split_words
from shipper.errors import ConfigError

from ..written_options import options_from


class Step(msgspec.Struct, frozen=True):
    shown_as: ClassVar[str] = "text"
    written: Written

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        if written.text == "bad":
            raise ValueError("bad is not possible")
        return cls(written)


class StepOptions(Options):
    up: Annotated[tuple[Step, ...], opt("Up.", aliases=("rise",))] = ()
    down: Annotated[tuple[Step, ...], opt("Down.", split=",")] = ()


def test_values_of_several_options_can_be_put_into_the_order_in_which_they_were_written() -> None:
    options = options_from(StepOptions, "up a\ndown b\nup c\nup a")

    steps = sorted((s.written for s in (*options.up, *options.down)), key=lambda w: w.place)
    assert [(w.key, w.text) for w in steps] == [("up", "a"), ("down", "b"), ("up", "c"), ("up", "a")]


def test_a_value_knows_the_key_that_was_written_even_if_that_is_an_alias() -> None:
    options = options_from(StepOptions, "rise a")

    assert options.up[0].written.key == "rise"


def test_parts_of_one_line_share_their_place() -> None:
    options = options_from(StepOptions, "up x\ndown a, b")

    assert [(s.written.text, s.written.place) for s in options.down] == [("a", 1), ("b", 1)]


def test_a_value_that_cannot_be_read_is_reported_with_its_own_line() -> None:
    with pytest.raises(ConfigError, match=r"test\.conf:3: filter: option 'up': bad is not possible"):
        options_from(StepOptions, "up a\nup bad\nup c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a \t b  ", ["a", "b"]),
        ('h "v w"', ["h", "v w"]),
        ("h 'v w'", ["h", "v w"]),
        (r'"say \"hi\"" x', ['say "hi"', "x"]),
        (r'"a\\b"', [r"a\b"]),
        (r'"\d+ x"', [r"\d+ x"]),
        (r"^\d+\s", [r"^\d+\s"]),
        ("single 'a \"b\" c'", ["single", 'a "b" c']),
        ('note "it is ""here"', ["note", "it is ", "here"]),
        ('a ""', ["a", ""]),
        ('a "b c', ["a", '"b', "c"]),
        ("it's fine", ["it's", "fine"]),
        ("", []),
        ("   ", []),
    ],
)
def test_words_are_split_at_blanks_that_no_quotes_protect(text: str, words: list[str]) -> None:
    assert split_words(text) == words
