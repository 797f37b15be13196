"""lua: codes, types, times and errors, each with a small function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.errors import ConfigError, OptionError
from shipper.filters.lua import LuaFilter, LuaOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ...written_options import options_from

pytest.importorskip("lupa")
TIME_NS = 1_700_000_000_123_456_789


def filter_of(body: str, more: str = "", head: str = "tag, ts, r") -> LuaFilter:
    """The filter with a function that has this body."""
    code = f"function f({head}) {body} end"
    return LuaFilter(options_from(LuaOptions, f"call f\ncode {code}\n{more}".strip()), context_of("filter"))


async def through(body: str, *records: Record, more: str = "", head: str = "tag, ts, r") -> list[Record]:
    """What a function with this body makes of the records."""
    one = filter_of(body, more, head)
    await one.open()
    left = one.apply(RecordBatch("tag.a", list(records), 100))
    return left.records if left else []


async def bodies(body: str, *given: Body, more: str = "") -> list[Body]:
    return [r.body for r in await through(body, *(Record(TIME_NS, dict(one)) for one in given), more=more)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return -1, ts, r", []),
        ("r.a = 2 return 0, ts, r", [{"a": 1}]),
        ("r.a = 2 return 1, ts, r", [{"a": 2}]),
        ("r.a = 2 return 2, 0, r", [{"a": 2}]),
        ("return 7, ts, r", [{"a": 1}]),
        ("error('no')", [{"a": 1}]),
        ("return 1, ts, 5", [{"a": 1}]),
        ("return 1, ts, {f = print}", [{"a": 1}]),
        ("return 1, 'soon', r", [{"a": 1}]),
        ("return 1, ts, {{a = 1}, {a = 2}}", [{"a": 1}, {"a": 2}]),
        ("return 1, ts, {t = tag}", [{"t": "tag.a"}]),
        ("return", [{"a": 1}]),
    ],
)
async def test_the_code_says_what_becomes_of_a_record(body: str, expected: list[Body]) -> None:
    assert await bodies(body, {"a": 1}) == expected


async def test_an_error_lets_the_whole_batch_pass_as_it_was() -> None:
    body = "if r.bad then error('no') end r.m = 9 return 1, ts, r"

    assert await bodies(body, {"m": 1}, {"bad": 1}) == [{"m": 1}, {"bad": 1}]


VALUES: dict[str, Any] = {
    "i": -7,
    "f": 1.5,
    "whole": 3.0,
    "t": True,
    "s": "ü",
    "e": [],
    "m": {},
    "l": [1, [2], {"x": []}],
}


async def test_types_survive() -> None:
    (found,) = await bodies("return 1, ts, r", VALUES)

    assert found == {**VALUES, "whole": 3}
    assert type(found["whole"]) is int and type(found["f"]) is float and type(found["t"]) is bool


async def test_fields_keep_their_order_and_new_ones_follow_by_name() -> None:
    given = {"z": 1, "m": {"y": 1, "b": 2}, "a": 3}
    (found,) = await bodies("r.q = 1 r.c = 2 r.m.a = 3 return 1, ts, r", given)

    assert [*found, *found["m"]] == ["z", "m", "a", "c", "q", "y", "b", "a"]


async def test_maps_that_were_encoded_ahead_are_seen() -> None:
    encoded = {"k": msgspec.Raw(b'{"pod":"web"}')}

    assert await bodies("return 1, ts, {p = r.k.pod}", encoded) == [{"p": "web"}]


@pytest.mark.parametrize(
    ("more", "expected"), [("", {"a": True}), ("enable_flb_null on", {"n": None, "a": False, "z": None})]
)
async def test_null_is_shown_on_request(more: str, expected: Body) -> None:
    body = "r.a = r.n == nil if flb_null then r.z = flb_null end return 1, ts, r"

    assert await bodies(body, {"n": None}, more=more) == [expected]


async def test_types_can_be_forced() -> None:
    more = "type_int_key n m\ntype_array_key s"

    assert await bodies("return 1, ts, {n = 12.7, s = {}}", {}, more=more) == [{"n": 12, "s": []}]


@pytest.mark.parametrize(
    ("body", "more", "expected"),
    [
        ("return 1, ts, r", "", TIME_NS),
        ("return 1, 5.5, r", "", 5_500_000_000),
        ("return 2, 5.5, r", "", TIME_NS),
        ("ts.sec = ts.sec + 1 return 1, ts, r", "time_as_table on", TIME_NS + 1_000_000_000),
    ],
)
async def test_times(body: str, more: str, expected: int) -> None:
    assert [r.time_ns for r in await through(body, Record(TIME_NS, {}), more=more)] == [expected]


WRONG_TIMES = [
    ("return 1, ts * 1000, r", ""),
    ("return 1, ts * 1e9, r", ""),
    ("return 1, 1e300, r", ""),
    ("return 1, 0 / 0, r", ""),
    ("return 1, 1 / 0, r", ""),
    ("return 1, -1, r", ""),
    ("return 1, 0, r", ""),
    ("return 1, 4294967296, r", ""),
    ("ts.sec = ts.sec * 1000 return 1, ts, r", "time_as_table on"),
    ("ts.sec = 0 / 0 return 1, ts, r", "time_as_table on"),
    ("ts.nsec = 1 / 0 return 1, ts, r", "time_as_table on"),
    ("ts.nsec = 1e300 return 1, ts, r", "time_as_table on"),
]


@pytest.mark.parametrize(("body", "more"), WRONG_TIMES)
def test_a_time_that_no_record_can_have_is_not_taken_and_is_counted(
    body: str, more: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = filter_of(f"r.n = 1 {body}", more)

    left = one.apply(RecordBatch("t", [Record(TIME_NS, {}), Record(TIME_NS + 1, {})], 1))

    assert left is not None
    assert left.records == [Record(TIME_NS, {"n": 1}), Record(TIME_NS + 1, {"n": 1})]
    assert one._invalid_times.value == 2
    assert caplog.text.count("the record keeps its own") == 1


def test_the_last_time_that_a_record_can_have_is_taken() -> None:
    left = filter_of("return 1, 4294967295, r").apply(RecordBatch("t", [Record(TIME_NS, {})], 1))

    assert left is not None
    assert left.records == [Record(4294967295_000000000, {})]


@pytest.mark.parametrize("number", ["0 / 0", "1 / 0", "-1 / 0", "2 ^ 64", "1e300", "-2 ^ 63 - 2048"])
async def test_numbers_that_are_no_integers_of_64_bits_stay_as_they_are(number: str) -> None:
    (found,) = await bodies(f"return 1, ts, {{n = {number}, m = 2.5}}", {}, more="type_int_key n m")

    assert type(found["n"]) is float
    assert found["m"] == 2


@pytest.mark.parametrize(
    ("given", "more", "expected"),
    [
        (2**63, "type_int_key n", 2**63),
        (2**63, "", float(2**63)),
        (2**64 - 1, "type_int_key n", float(2**64)),
        (-(2**63), "type_int_key n", -(2**63)),
        (10**30, "type_int_key n", 1e30),
    ],
)
async def test_large_integers_are_numbers_of_lua_with_its_precision(given: int, more: str, expected: float) -> None:
    (found,) = await bodies("return 1, ts, r", {"n": given}, more=more)

    assert (type(found["n"]), found["n"]) == (type(expected), expected)


LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("given", [LATIN, "caf\u00e9", "\U0001f600"])
async def test_bytes_that_are_no_text_pass_as_they_were(given: str) -> None:
    assert await bodies("return 1, ts, r", {"log": given, given: 1}) == [{"log": given, given: 1}]


async def test_half_a_character_undoes_no_change_of_another_record() -> None:
    body = "r.log = string.sub(string.gsub(r.log, 'secret', '******'), 1, 7) return 1, ts, r"

    found = await bodies(body, {"log": "a secret"}, {"log": "secret\u00e9"}, {"log": f"secret{LATIN}"})

    assert [one["log"] for one in found] == ["a *****", "******\udcc3", "******c"]


async def test_half_a_surrogate_pair_is_no_failure() -> None:
    assert await bodies("r.n = 1 return 1, ts, r", {"log": "\ud800x"}) == [{"log": "?x", "n": 1}]


async def test_a_function_of_five_parameters_gets_the_metadata() -> None:
    body = "md.b = 2 return 1, ts, md, r"
    found = await through(body, Record(1, {"a": 1}, {"x": 1}), head="tag, ts, group, md, r")

    assert found == [Record(1, {"a": 1}, {"x": 1, "b": 2})]


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("return 1, ts, {{a = 1}, {a = 2}}", "tag, ts, r"),
        ("return 1, ts, m, {{a = 1}, {a = 2}}", "tag, ts, g, m, r"),
    ],
)
async def test_records_made_of_one_may_change_their_metadata_apart(body: str, head: str) -> None:
    one, other = await through(body, Record(TIME_NS, {}, {"m": 1}), head=head)
    assert one.metadata is not None
    one.metadata["n"] = 2

    assert other.metadata == {"m": 1}


async def test_metadata_of_split_records_is_given_to_each() -> None:
    body = "return 1, ts, {{m = 1}, {m = 2}}, {{a = 1}, {a = 2}}"
    found = await through(body, Record(1, {}), head="tag, ts, group, md, r")

    assert [r.metadata for r in found] == [{"m": 1}, {"m": 2}]


async def test_the_environment_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "prod")

    assert await bodies("return 1, ts, {c = FLB_ENV.CLUSTER}", {}) == [{"c": "prod"}]


@pytest.mark.parametrize(
    ("working", "beside", "expected"),
    [(None, "beside", "beside"), ("working", None, "working"), ("working", "beside", "working")],
)
async def test_a_relative_script_is_looked_for_in_the_working_folder_then_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, working: str | None, beside: str | None, expected: str
) -> None:
    for name, source in (("working", working), ("beside", beside)):
        (tmp_path / name).mkdir()
        if source is not None:
            (tmp_path / name / "f.lua").write_text(f"function f(tag, ts, r) return 1, ts, {{from = '{source}'}} end")
    monkeypatch.chdir(tmp_path / "working")
    context = context_of("filter", folder=f"{tmp_path}/beside")
    one = LuaFilter(options_from(LuaOptions, "call f\nscript f.lua"), context)
    await one.open()

    left = one.apply(RecordBatch("t", [Record(0, {})], 1))

    assert left is not None
    assert left.records[0].body == {"from": expected}


async def test_a_script_that_is_nowhere_is_told_with_the_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(OptionError, match=r"names no file 'f\.lua'") as caught:
        LuaFilter(options_from(LuaOptions, "call f\nscript f.lua"), context_of("filter", folder="/etc"))
    assert caught.value.remedy == f"it was looked for in {tmp_path} and /etc"


async def test_a_script_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "f.lua").write_text("function f(tag, ts, r) return -1 end")
    one = LuaFilter(options_from(LuaOptions, f"call f\nscript {tmp_path}/f.lua"), context_of("filter"))
    await one.open()

    assert one.apply(RecordBatch("t", [Record(1, {})], 1)) is None


async def test_a_script_need_not_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "f.lua").write_bytes(b"-- Pr\xfcfung\nfunction f(tag, ts, r) r.t = 'Pr\xfcf' return 1, ts, r end")
    one = LuaFilter(options_from(LuaOptions, f"call f\nscript {tmp_path}/f.lua"), context_of("filter"))

    left = one.apply(RecordBatch("t", [Record(1, {})], 1))

    assert left is not None
    assert left.records[0].body == {"t": "Pr\udcfcf"}


@pytest.mark.parametrize(
    ("source", "told", "remedy"),
    [
        (b"-- \xfc\nfunction )", "script: {file} cannot be loaded: line 2: ", "Lua 5.1"),
        (b"error('no \xfc')", "script: {file} cannot be loaded: line 1: no", "Lua 5.1"),
        (b"error({})", "script: {file} cannot be loaded: it gives no reason", "Lua 5.1"),
        (b"function g() end", "call: names 'f', which is no function of the script", "known are: g"),
        (b"function filter() end function ff() end", "call: names 'f', which is", "did you mean 'ff'?"),
        (b"local function f() end", "call: names 'f', which is", "defines no global function"),
        (b"f = 5", "call: names 'f', which is", "defines no global function"),
        (None, "script: {file} cannot be read: Is a directory", "check the path"),
    ],
)
def test_a_script_that_cannot_be_used_is_told_with_its_name_and_a_remedy(
    tmp_path: Path, source: bytes | None, told: str, remedy: str
) -> None:
    file = tmp_path / "f.lua"
    if source is None:
        file.mkdir()
    else:
        file.write_bytes(source)

    with pytest.raises(OptionError) as caught:
        LuaFilter(options_from(LuaOptions, f"call f\nscript {file}"), context_of("filter"))
    assert str(caught.value).startswith(told.format(file=file))
    assert remedy in caught.value.remedy
    assert "\n" not in f"{caught.value}{caught.value.remedy}"


@pytest.mark.parametrize(
    "lines",
    ["call f", "script x", "call f\nscript /nowhere/f.lua", "call g\ncode function f() end", "call f\ncode function"],
)
async def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises((ConfigError, OptionError)):
        one = LuaFilter(options_from(LuaOptions, lines), context_of("filter"))
        await one.open()
