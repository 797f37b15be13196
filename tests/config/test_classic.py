"""The classic format: lines, sections, commands, includes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.config.classic import Role, find_file, main_folder, read_classic
from shipper.config.environment import Setting
from shipper.config.model import Configuration, Section
from shipper.errors import Origin, Problem

INPUT = "[INPUT]\n    Name dummy\n"
OUTPUT = "[OUTPUT]\n    Name stdout\n    Match *\n"


class Folder:
    """A folder with configuration files, which is also the working folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str | bytes) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(
        self, text: str | bytes, name: str = "c.conf", role: Role = "main"
    ) -> tuple[Configuration, list[Setting], list[Problem]]:
        self.write(name, text)
        problems: list[Problem] = []
        configuration, settings = read_classic(name, role, problems)
        return configuration, settings, problems


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def pairs(section: Section) -> list[tuple[str, str]]:
    return [(p.key, p.value) for p in section.properties]


def names(sections: list[Section]) -> list[str | None]:
    return [section.get("name") for section in sections]


def test_names_of_sections_and_keys_ignore_case_and_values_keep_it(folder: Folder) -> None:
    found, _, problems = folder.read("[InPuT]\n    nAmE Dummy\n    TAG x\n[OUTPUT] trailing\n    NAME STDOUT\n")

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "Dummy"), ("tag", "x")]
    assert pairs(found.outputs[0]) == [("name", "STDOUT")]


def test_sections_and_properties_know_where_they_stand(folder: Folder) -> None:
    found, _, _ = folder.read("# head\n\n" + INPUT)

    assert found.path == "c.conf"
    assert found.inputs[0].origin == Origin("c.conf", 3)
    assert found.inputs[0].properties[0].origin == Origin("c.conf", 4)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("IN", "inputs"),
        ("input", "inputs"),
        ("INPUTS", "inputs"),
        ("F", "filters"),
        ("OUT", "outputs"),
        ("Outputs", "outputs"),
    ],
)
def test_a_section_name_may_be_cut_short(folder: Folder, header: str, kind: str) -> None:
    found, _, problems = folder.read(f"[{header}]\n    Name dummy\n")

    assert problems == []
    assert names(getattr(found, kind)) == ["dummy"]


def test_a_single_letter_s_is_the_service_section_and_all_service_sections_are_one(folder: Folder) -> None:
    found, _, _ = folder.read(f"[s]\n    Flush 1\n{INPUT}[SERVICE]\n    Grace 2\n    Flush 3\n")

    assert pairs(found.service) == [("flush", "1"), ("grace", "2"), ("flush", "3")]
    assert found.service.origin.line == 1


@pytest.mark.parametrize(
    "line",
    [
        "    Tag x",
        "  Tag x",
        "      Tag x",
        "\tTag x",
        "        Tag x",
        "Tag x",
        "    Tag    x",
        "    Tag\tx",
        "    Tag x   ",
        "    Tag x\r",
    ],
)
def test_any_indentation_and_any_blanks_around_a_value_are_fine(folder: Folder, line: str) -> None:
    found, _, problems = folder.read(f"{INPUT}{line}\n")

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "dummy"), ("tag", "x")]


@pytest.mark.parametrize("line", ["", "  ", "    ", "\t", "# c", "  # c", "    # c", "        # c", "\r", "\t#c"])
def test_blank_lines_and_comments_are_skipped(folder: Folder, line: str) -> None:
    found, _, problems = folder.read(f"{INPUT}{line}\n    Tag x\n")

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "dummy"), ("tag", "x")]


@pytest.mark.parametrize("value", ["k # no comment", '"quoted text"', "a[0]: {x}", "1 \\", "=x=", "ä ö", "${A} $x"])
def test_a_value_is_taken_as_it_is_written(folder: Folder, value: str) -> None:
    found, _, _ = folder.read(f"{INPUT}    Dummy {value}\n")

    assert found.inputs[0].get("dummy") == value


def test_repeated_keys_keep_their_order(folder: Folder) -> None:
    found, _, _ = folder.read(f"{INPUT}    Tag a\n    Add x\n    Tag b\n")

    assert pairs(found.inputs[0])[1:] == [("tag", "a"), ("add", "x"), ("tag", "b")]


def test_a_file_with_crlf_is_read(folder: Folder) -> None:
    found, _, problems = folder.read((INPUT + OUTPUT).replace("\n", "\r\n"))

    assert problems == []
    assert pairs(found.outputs[0]) == [("name", "stdout"), ("match", "*")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    Dummy", "undefined value - check config is in valid classic format"),
        ("    Dummy\r", "undefined value - check config is in valid classic format"),
        ("    Dummy ", "key has an empty value"),
        ("    Dummy   ", "could not allocate key value pair"),
        ("[FILTER", "bad header definition"),
        ("@SETfoo", "command '@SETfoo' has no argument"),
        ("@INCLUDE", "command '@INCLUDE' has no argument"),
        ("@INCLUDE  ", "command '@INCLUDE' has no argument"),
        ("    [OUTPUT]", "invalid indentation level of '[OUTPUT]'"),
        ("[PARSER]", "not valid in the main configuration file, they belong to 'parsers_file'"),
        ("[MULTILINE_PARSER]", "not valid in the main configuration file, they belong to 'parsers_file'"),
    ],
)
def test_a_line_that_cannot_be_understood_is_a_problem_with_a_remedy(folder: Folder, line: str, message: str) -> None:
    _, _, problems = folder.read(f"{INPUT}{line}\n")

    assert len(problems) == 1
    assert message in problems[0].message
    assert problems[0].origin == Origin("c.conf", 3)
    assert problems[0].remedy
    assert problems[0].exit_code == 1


def test_a_key_before_the_first_section_is_a_problem(folder: Folder) -> None:
    _, _, problems = folder.read("    Name dummy\n" + INPUT)

    assert [str(p.origin) for p in problems] == ["c.conf:1"]
    assert "could not allocate key value pair" in problems[0].message


def test_all_mistakes_of_all_files_are_told_at_once_and_none_causes_others(folder: Folder) -> None:
    folder.write("i.conf", "  Key early\n[FILTER\n  Name grep\n  Match\n")
    _, _, problems = folder.read(f"[INPUT\n    Name dummy\n    Tag\n@INCLUDE i.conf\n@INCLUDE nope.conf\n{OUTPUT}")

    assert [str(p.origin) for p in problems] == ["c.conf:1", "c.conf:3", "i.conf:1", "i.conf:2", "i.conf:4", "c.conf:5"]


def test_a_byte_order_mark_is_a_problem_that_names_the_remedy_and_hides_nothing(folder: Folder) -> None:
    found, _, problems = folder.read(b"\xef\xbb\xbf" + INPUT.encode())

    assert [str(p) for p in problems] == [
        "c.conf:1: undefined value: the file begins with a byte order mark - save it as UTF-8 without BOM"
    ]
    assert names(found.inputs) == ["dummy"]


def test_bytes_that_are_not_utf8_are_replaced_with_a_warning(folder: Folder) -> None:
    found, _, problems = folder.read(INPUT.encode() + b"    Tag caf\xe9\n")

    assert problems == []
    assert found.inputs[0].get("tag") == "caf\N{REPLACEMENT CHARACTER}"
    assert found.warnings == ["c.conf:3: the file is not UTF-8; bytes that cannot be read are replaced"]


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("[INPT]", "unknown section '[INPT]' is ignored with all its keys - did you mean 'input'?"),
        ("[FOO]", "known are: filter, input"),
        ("[]", "known are: filter, input"),
        ("[UPSTREAM_SERVERS]", "not supported"),
        ("[CUSTOM]", "not supported"),
    ],
)
def test_a_section_that_is_not_ours_is_ignored_with_a_warning(folder: Folder, header: str, hint: str) -> None:
    found, _, problems = folder.read(f"{INPUT}{header}\n    Name a\n")

    assert problems == []
    assert names(found.inputs) == ["dummy"]
    assert hint in found.warnings[0]


def test_a_section_without_keys_is_kept_with_a_warning(folder: Folder) -> None:
    found, _, problems = folder.read("[INPUT]\n" + OUTPUT)

    assert problems == []
    assert names(found.inputs) == [None]
    assert found.warnings == ["c.conf:1: section 'input' has no keys"]


def test_a_group_and_the_deeper_keys_below_it_are_ignored(folder: Folder) -> None:
    found, _, problems = folder.read(f"{INPUT}    [some group] x\n        Foo bar\n        Key v\n    Tag x\n")

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "dummy"), ("tag", "x")]
    assert found.warnings == ["c.conf:3: group '[some group]' is ignored with all its keys"]


def test_set_commands_are_collected_from_everywhere(folder: Folder) -> None:
    folder.write("i.conf", "@set B=two words \n")
    _, settings, problems = folder.read(f"@SET A=1\n{INPUT}@INCLUDE i.conf\n@SET A=x=y\n")

    assert problems == []
    assert [(s.name, s.value, str(s.origin)) for s in settings] == [
        ("A", "1", "c.conf:1"),
        ("B", "two words ", "i.conf:1"),
        ("A", "x=y", "c.conf:5"),
    ]


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("@SET foo", "[meta SET] invalid parameter is ignored"),
        ("@INCLUD i.conf", "unknown command '@INCLUD' is ignored - did you mean 'include'?"),
        ("    @INCLUDE i.conf", "commands begin in column 1"),
    ],
)
def test_a_command_that_does_nothing_is_a_warning(folder: Folder, line: str, warning: str) -> None:
    found, settings, problems = folder.read(f"{INPUT}{line}\n")

    assert (problems, settings) == ([], [])
    assert warning in found.warnings[0]


def test_an_indented_command_is_a_key_of_its_section(folder: Folder) -> None:
    found, _, _ = folder.read(f"{INPUT}    @INCLUDE x\n")

    assert pairs(found.inputs[0])[1] == ("@include", "x")


def test_included_sections_stand_in_place_of_the_command(folder: Folder) -> None:
    folder.write("f.conf", "[FILTER]\n  Name b\n")
    found, _, problems = folder.read("[FILTER]\n    Name a\n@include f.conf\n[FILTER]\n    Name c\n")

    assert problems == []
    assert names(found.filters) == ["a", "b", "c"]
    assert found.filters[1].origin == Origin("f.conf", 1)


def test_after_an_include_the_section_of_the_includer_goes_on(folder: Folder) -> None:
    folder.write("i.conf", "[OUTPUT]\n\tName stdout\n")
    found, _, problems = folder.read(f"{INPUT}@INCLUDE i.conf\n    Tag x\n")

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "dummy"), ("tag", "x")]
    assert pairs(found.outputs[0]) == [("name", "stdout")]


def test_an_include_may_not_go_on_with_the_section_of_its_includer(folder: Folder) -> None:
    folder.write("i.conf", "    Tag x\n")
    _, _, problems = folder.read(f"{INPUT}@INCLUDE i.conf\n")

    assert [str(p.origin) for p in problems] == ["i.conf:1"]


def test_a_file_is_looked_up_in_the_working_folder_and_then_beside_the_main_file(folder: Folder) -> None:
    folder.write("i.conf", "[INPUT]\n Name here\n")
    folder.write("etc/i.conf", "[INPUT]\n Name there\n")
    folder.write("etc/j.conf", "[INPUT]\n Name beside\n")
    found, _, problems = folder.read("@INCLUDE i.conf\n@INCLUDE j.conf\n", name="etc/c.conf")

    assert problems == []
    assert names(found.inputs) == ["here", "beside"]
    assert [str(s.origin) for s in found.inputs] == ["i.conf:1", "etc/j.conf:1"]


def test_a_file_is_not_looked_up_beside_the_including_file(folder: Folder) -> None:
    folder.write("d/i.conf", "@INCLUDE j.conf\n")
    folder.write("d/j.conf", INPUT)
    _, _, problems = folder.read("@INCLUDE d/i.conf\n")

    assert [str(p.origin) for p in problems] == ["d/i.conf:1"]
    assert "could not open included file 'j.conf'" in problems[0].message
    assert str(folder.path) in problems[0].remedy


def test_the_symbolic_link_of_a_main_file_is_resolved(folder: Folder) -> None:
    folder.write("real/i.conf", INPUT)
    folder.write("real/c.conf", "@INCLUDE i.conf\n")
    (folder.path / "etc").mkdir()
    (folder.path / "etc/c.conf").symlink_to("../real/c.conf")
    problems: list[Problem] = []

    found, _ = read_classic("etc/c.conf", "main", problems)

    assert problems == []
    assert names(found.inputs) == ["dummy"]


def test_a_pattern_includes_all_files_beside_the_main_file_in_order(folder: Folder) -> None:
    for name in ("10", "9", "a", ".hidden"):
        folder.write(f"etc/d/{name}.conf", f"[INPUT]\n Name {name}\n")
    folder.write("d/other.conf", "[INPUT]\n Name wrong\n")
    (folder.path / "etc/d/folder.conf").mkdir()
    found, _, problems = folder.read("@INCLUDE d/*.conf\n", name="etc/c.conf")

    assert problems == []
    assert names(found.inputs) == ["10", "9", "a"]


def test_an_absolute_pattern_is_taken_as_it_is(folder: Folder) -> None:
    folder.write("d/i.conf", INPUT)
    found, _, problems = folder.read(f"@INCLUDE {folder.path}/d/*\n", name="etc/c.conf")

    assert problems == []
    assert names(found.inputs) == ["dummy"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("@INCLUDE nope.conf", "could not open included file 'nope.conf': no such file"),
        ("@INCLUDE n*.conf", "glob: [n*.conf] no match"),
        ("@INCLUDE d", "could not open included file 'd': Is a directory"),
        ("@INCLUDE i?.conf", "could not open included file 'i?.conf': no such file"),
        ("@INCLUDE ${F}.conf", "could not open included file '${F}.conf': ${F} is empty or not set"),
        ("@INCLUDE /nope/nope.conf", "could not open included file '/nope/nope.conf': no such file"),
    ],
)
def test_an_include_that_finds_nothing_is_a_problem(folder: Folder, command: str, message: str) -> None:
    folder.write("i1.conf", INPUT)
    (folder.path / "d").mkdir()
    _, _, problems = folder.read(f"{command}\n")

    assert [(str(p.origin), p.message) for p in problems] == [("c.conf:1", message)]


def test_a_file_may_be_included_once_under_any_name(folder: Folder) -> None:
    folder.write("i.conf", INPUT)
    (folder.path / "link.conf").symlink_to("i.conf")
    found, _, problems = folder.read("@INCLUDE i.conf\n@INCLUDE ./i.conf\n@INCLUDE link.conf\n")

    assert names(found.inputs) == ["dummy"]
    assert [(str(p.origin), p.message) for p in problems] == [
        ("c.conf:2", "Read twice. path=./i.conf, which was already read at c.conf:1"),
        ("c.conf:3", "Read twice. path=link.conf, which was already read at c.conf:1"),
    ]


def test_files_that_include_each_other_end_in_a_problem(folder: Folder) -> None:
    folder.write("a.conf", "@INCLUDE b.conf\n")
    folder.write("b.conf", "@INCLUDE a.conf\n@INCLUDE c.conf\n")
    _, _, problems = folder.read("@INCLUDE a.conf\n")

    assert [(str(p.origin), p.message) for p in problems] == [
        ("b.conf:1", "Read twice. path=a.conf, which was already read at c.conf:1"),
        ("b.conf:2", "Read twice. path=c.conf, which was already read as the main file"),
    ]


def test_a_long_chain_of_includes_ends_at_a_thousand_files(folder: Folder) -> None:
    for n in range(1, 1001):
        folder.write(f"{n}.conf", f"@INCLUDE {n + 1}.conf\n")
    _, _, problems = folder.read("@INCLUDE 1.conf\n")

    assert [(str(p.origin), p.message) for p in problems] == [
        ("999.conf:1", "'1000.conf' is not read: a configuration has at most 1000 files")
    ]


def test_a_missing_main_file_is_a_problem(folder: Folder) -> None:
    problems: list[Problem] = []
    read_classic("nope.conf", "main", problems)

    assert [p.message for p in problems] == ["could not open configuration file 'nope.conf': No such file or directory"]


def test_a_parsers_file_holds_parsers_and_nothing_else_of_it_counts(folder: Folder) -> None:
    text = f"@SET A=b\n[PARSER]\n    Name p\n[MULTILINE_PARSER]\n    Name m\n{INPUT}"
    found, settings, problems = folder.read(text, role="parsers")

    assert (problems, settings, found.inputs) == ([], [], [])
    assert (names(found.parsers), names(found.multiline_parsers)) == (["p"], ["m"])
    assert [w.partition(": ")[0] for w in found.warnings] == ["c.conf:1", "c.conf:6"]


def test_the_folder_of_a_main_file_is_shown_as_it_was_given(folder: Folder) -> None:
    folder.write("etc/c.conf", "")

    assert main_folder("etc/c.conf") == "etc"
    assert main_folder("c.conf") == main_folder("") == ""
    assert find_file("c.conf", "etc") == os.path.join("etc", "c.conf")
    assert find_file("nope.conf", "etc") is None
