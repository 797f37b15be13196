"""Values with a unit."""

from __future__ import annotations

import pytest

from shipper.config.units import (
    BinaryByteSize,
    ByteSize,
    PlainSeconds,
    Seconds,
    parse_bool,
    parse_float,
    parse_int,
    shown_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("100", 100),
        ("1024", 1024),
        ("32k", 32_000),
        ("32K", 32_000),
        ("32KB", 32_000),
        ("1K", 1000),
        ("1KB", 1000),
        ("50k", 50_000),
        ("5M", 5_000_000),
        ("5MB", 5_000_000),
        ("5m", 5_000_000),
        ("1M", 1_000_000),
        ("1.5M", 1_500_000),
        (".5M", 500_000),
        ("0.5kb", 500),
        ("2g", 2_000_000_000),
        ("1G", 1_000_000_000),
        ("1GB", 1_000_000_000),
        ("10.5", 10),
        (" 5M ", 5_000_000),
        ("0", 0),
        ("false", 0),
        ("False", 0),
        ("off", 0),
    ],
)
def test_a_size_is_decimal(text: str, size: int) -> None:
    assert ByteSize.parse(text) == size


@pytest.mark.parametrize("text", ["10X", "10KX", "10MiB", "5MiB", "5Q", "2 M", "5.", "M", "", "-1", "1,5M", "abc"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        ByteSize.parse(text)


@pytest.mark.parametrize(("text", "size"), [("2MB", 2_097_152), ("1k", 1024), ("1G", 1024**3), ("7", 7), ("false", 0)])
def test_a_binary_size_is_binary(text: str, size: int) -> None:
    assert BinaryByteSize.parse(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("90s", 90), ("1m", 60), ("2h", 7200), ("6D", 518_400), ("1d", 86_400), ("0.5", 0.5), ("5M", 300)],
)
def test_a_time_has_a_suffix_of_either_case(text: str, seconds: float) -> None:
    assert Seconds.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "5 m", "m", "-1"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        Seconds.parse(text)


@pytest.mark.parametrize(("text", "seconds"), [("5m", 5), ("10", 10), ("0.25", 0.25)])
def test_plain_seconds_have_no_suffix(text: str, seconds: float) -> None:
    assert PlainSeconds.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("On", True), ("YES", True), ("false", False), ("oFF", False), ("no", False), (" on ", True)],
)
def test_a_boolean_is_one_of_six_words_in_any_case(text: str, value: bool) -> None:
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["1", "0", "maybe", "", "y", "enabled"])
def test_any_other_word_is_no_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="is not a boolean"):
        parse_bool(text)


@pytest.mark.parametrize(("text", "value"), [("1s", 1), ("42", 42), (" -7x", -7), ("+3", 3), ("1.9", 1)])
def test_an_integer_ends_where_its_digits_end(text: str, value: int) -> None:
    assert parse_int(text) == value


@pytest.mark.parametrize(("text", "value"), [("0.2", 0.2), ("1e3", 1000.0), ("5s", 5.0), ("-.5", -0.5), ("2.", 2.0)])
def test_a_number_ends_where_it_cannot_go_on(text: str, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize("text", ["abc", "", "s1", "nan", "inf"])
def test_text_without_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        parse_int(text)
    with pytest.raises(ValueError, match="is not a number"):
        parse_float(text)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0b"),
        (1023, "1023b"),
        (1024, "1.0K"),
        (100_000_000, "95.4M"),
        (2_000_000_000, "1.9G"),
        (1024**6, "1.0E"),
        (1024**9, "1024.0Y"),
    ],
)
def test_sizes_are_shown_in_binary_units(size: float, shown: str) -> None:
    assert shown_size(size) == shown


def test_units_show_themselves_to_people() -> None:
    assert (str(ByteSize.parse("100M")), str(Seconds.parse("2m"))) == ("95.4M", "120s")
