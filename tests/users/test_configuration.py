"""Users' rows W1 to W5 and Y3: a configuration that cannot lie, and that everybody can look at who may.

W1: Fluent Bit ignores keys of SERVICE and whole sections that it does not know, and so do we, with a warning; all other
mistakes are errors. W2: an unset variable is empty, as the published configurations need it, which is told. W4: what
rewrite_tag hands out does not come back to it, so a cycle ends by itself and need not be refused. W5: the bundle is
what `--sosreport` prints.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from shipper.config.options import declared_options
from shipper.plugins import KINDS, find_plugin, plugin_names
from tests.components.shipper_process import shipper_command

from .storing import Station
from .test_monitoring import Api


def shipper(
    configuration: Path, *flags: str, variables: Mapping[str, str] | None = None, status: int = 0
) -> tuple[str, str]:
    """What a shipper that ends by itself with this status prints on its two streams."""
    done = subprocess.run(
        [shipper_command(), "-c", configuration, *flags],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


# -- W1: mistakes ------------------------------------------------------------------------------------------------------

TAIL = ("INPUT", "name tail", "path /x/*.log")
LOKI = ("OUTPUT", "name loki", "match *")
CLOUDWATCH = ("OUTPUT", "name cloudwatch_logs", "match *", "region x", "log_group_name g", "log_stream_prefix p")
S3 = ("OUTPUT", "name s3", "match *", "region x", "bucket b")
KUBERNETES = ("FILTER", "name kubernetes", "match *")
SERVICE = ("SERVICE", "flush 1")

MISTAKES: list[tuple[Sequence[str], str, str]] = [
    (SERVICE, "log_livel info", "did you mean 'log_level'?"),
    (SERVICE, "flsh 5", "did you mean 'flush'?"),
    (SERVICE, "storage.pth /x", "did you mean 'storage.path'?"),
    (SERVICE, "http_sever on", "did you mean 'http_server'?"),
    (SERVICE, "parser_file x", "did you mean 'parsers_file'?"),
    (SERVICE, "hot_relod on", "did you mean 'hot_reload'?"),
    (SERVICE, "scheduler.bse 1", "did you mean 'scheduler.base'?"),
    (SERVICE, "storage.backlog.memlimit 5M", "did you mean 'storage.backlog.mem_limit'?"),
    (TAIL, "mem_bufF_limit 5M", "did you mean 'mem_buf_limit'?"),
    (TAIL, "Bufer_Max_Size 1M", "did you mean 'buffer_max_size'?"),
    (TAIL, "exclude_pth /x", "did you mean 'exclude_path'?"),
    (TAIL, "refresh_intervall 1", "did you mean 'refresh_interval'?"),
    (TAIL, "rotate_wat 5", "did you mean 'rotate_wait'?"),
    (TAIL, "read_from_haed on", "did you mean 'read_from_head'?"),
    (TAIL, "skip_long_line on", "did you mean 'skip_long_lines'?"),
    (TAIL, "multiline_parser cri", "did you mean 'multiline.parser'?"),
    (TAIL, "storage_type filesystem", "did you mean 'storage.type'?"),
    (TAIL, "mem_buf_limit 5Q", "for example"),
    (TAIL, "read_from_head maybe", "write on or off"),
    (("INPUT", "name tail"), "tag x", "path"),
    (("INPUT",), "name tial", "did you mean 'tail'?"),
    (("INPUT",), "name systemdd", "did you mean 'systemd'?"),
    (("INPUT",), "name loki", "is the name of an output"),
    (("INPUT", "name dummy"), "dumy {}", "did you mean 'dummy'?"),
    (("INPUT", "name systemd"), "systemd_filtr A=b", "did you mean 'systemd_filter'?"),
    (("INPUT", "name tcp"), "prt 5170", "did you mean 'port'?"),
    (("INPUT", "name forward"), "sharedkey x", "did you mean 'shared_key'?"),
    (("INPUT", "name http"), "tagkey x", "did you mean 'tag_key'?"),
    (("FILTER", "match *"), "name kubernets", "did you mean 'kubernetes'?"),
    (("FILTER", "name grep", "match *"), "regexp log x", "did you mean 'regex'?"),
    (("FILTER", "name grep", "match *"), "regex log (", "regex"),
    (("FILTER", "name modify", "match *"), "rname a b", "did you mean 'rename'?"),
    (("FILTER", "name nest", "match *", "operation lift"), "nested_undr x", "did you mean 'nested_under'?"),
    (("FILTER", "name rewrite_tag", "match *"), "rule $log x", "KEY REGEX NEW_TAG KEEP"),
    (("FILTER", "name throttle", "match *"), "windw 5", "did you mean 'window'?"),
    (("FILTER", "name multiline", "match *"), "multiline.key_contnt log", "did you mean 'multiline.key_content'?"),
    (KUBERNETES, "merge_lg on", "did you mean 'merge_log'?"),
    (KUBERNETES, "kube_tag_prefx x.", "did you mean 'kube_tag_prefix'?"),
    (KUBERNETES, "use_kublet on", "did you mean 'use_kubelet'?"),
    (KUBERNETES, "k8s-logging.parsr on", "did you mean 'k8s-logging.parser'?"),
    (KUBERNETES, "annotation off", "did you mean 'annotations'?"),
    (("OUTPUT", "match *"), "name lokki", "did you mean 'loki'?"),
    (("OUTPUT", "match *"), "name cloudwatch_log", "did you mean 'cloudwatch_logs'?"),
    (LOKI, "lables job=x", "did you mean 'labels'?"),
    (LOKI, "net.keepaliveS on", "did you mean 'net.keepalive'?"),
    (LOKI, "net.connect_timeot 5", "did you mean 'net.connect_timeout'?"),
    (LOKI, "storage.total_limit 5M", "did you mean 'storage.total_limit_size'?"),
    (LOKI, "retry_limt 5", "did you mean 'retry_limit'?"),
    (LOKI, "tls.verfy off", "did you mean 'tls.verify'?"),
    (LOKI, "port many", "number"),
    (CLOUDWATCH, "log_stream_prefixx p", "did you mean 'log_stream_prefix'?"),
    (CLOUDWATCH, "auto_create_grp on", "did you mean 'auto_create_group'?"),
    (CLOUDWATCH, "log_retention_day 1", "did you mean 'log_retention_days'?"),
    (CLOUDWATCH, "worker 1", "did you mean 'workers'?"),
    (S3, "total_file_sze 10M", "did you mean 'total_file_size'?"),
    (S3, "upload_timout 1m", "did you mean 'upload_timeout'?"),
    (S3, "s3_key_fromat /x", "did you mean 's3_key_format'?"),
    (S3, "compression gzp", "gzip"),
    (TAIL, "tag_rgex x", "did you mean 'tag_regex'?"),
    (S3, "use_put_objct on", "did you mean 'use_put_object'?"),
    (("u",), "key value", ""),
    (("OUTPT", "name stdout"), "match *", "did you mean 'output'?"),
]


def test_w1_sixty_mistakes_are_all_found_in_one_go_with_their_lines_and_remedies(tmp_path: Path) -> None:
    lines: list[str] = []
    places: list[tuple[int, str, str]] = []
    for (header, *usual), wrong, remedy in MISTAKES:
        lines += [f"[{header}]", *(f"    {line}" for line in usual), f"    {wrong}"]
        is_about_section = header in ("u", "OUTPT") or wrong == "tag x"
        places.append((len(lines) - (len(usual) + 1 if is_about_section else 0), wrong, remedy))
    configuration = tmp_path / "wrong.conf"
    configuration.write_text("\n".join(lines))

    _, told = shipper(configuration, "--dry-run", status=1)

    missed = [
        (number, wrong, remedy)
        for number, wrong, remedy in places
        if not re.search(rf"wrong\.conf:{number}: .*{re.escape(remedy)}", told)
    ]
    assert len(MISTAKES) >= 60
    assert missed == [], told


def test_w1_parsers_that_nobody_has_defined_are_found(tmp_path: Path) -> None:
    (tmp_path / "parsers.conf").write_text("[PARSER]\n    name nginx\n    format json\n")
    configuration = tmp_path / "wrong.conf"
    configuration.write_text(
        f"[SERVICE]\n    parsers_file {tmp_path}/parsers.conf\n"
        "[INPUT]\n    name tail\n    path /x\n    parser ngnix\n"
        "[INPUT]\n    name tail\n    path /x\n    multiline.parser dcker, cri\n"
        "[FILTER]\n    name parser\n    match *\n    key_name log\n    parser ngin\n"
        "[OUTPUT]\n    name null\n    match *\n"
    )

    _, told = shipper(configuration, "--dry-run", status=1)

    for line, name, hint in ((6, "ngnix", "did you mean 'nginx'"), (10, "dcker", "docker"), (15, "ngin", "nginx")):
        assert re.search(rf"wrong\.conf:{line}: .*{name}.* - .*{hint}", told), told


@pytest.mark.parametrize(
    ("options", "wrong", "told"),
    [
        (("name lua", "call f"), "script missing.lua", r"names no file 'missing\.lua' - it was looked for in "),
        (
            ("name lua", "call f"),
            "script {folder}/broken.lua",
            r"broken\.lua cannot be loaded: line 2: .* - .*Lua 5\.1",
        ),
        (
            ("name lua", "script {folder}/latin.lua"),
            "call fliter",
            r"no function of the script - did you mean 'filter'\?",
        ),
        (("name checklist",), "file {folder}/missing.txt", r"missing\.txt cannot be read: .* - check the path"),
    ],
)
def test_w1_files_that_filters_need_are_read_by_a_dry_run(
    tmp_path: Path, options: Sequence[str], wrong: str, told: str
) -> None:
    pytest.importorskip("lupa")
    (tmp_path / "broken.lua").write_text("function f()\n  return )\nend\n")
    (tmp_path / "latin.lua").write_bytes(b"-- Pr\xfcfung\nfunction filter() end\n")
    lines = "\n".join(f"    {line}".replace("{folder}", str(tmp_path)) for line in (*options, wrong))
    configuration = tmp_path / "wrong.conf"
    configuration.write_text(
        f"[FILTER]\n    match *\n{lines}\n[INPUT]\n    name dummy\n[OUTPUT]\n    name null\n    match *\n"
    )

    _, dry = shipper(configuration, "--dry-run", status=1)
    _, wet = shipper(configuration, status=255)

    line = rf"wrong\.conf:{3 + len(options)}: \w+: .*{told}"
    assert re.search(line, dry) and re.search(line, wet), (dry, wet)
    assert "Traceback" not in dry + wet
    assert "successful" not in dry


def test_w1_a_start_refuses_what_a_dry_run_refuses_in_the_same_words(tmp_path: Path) -> None:
    configuration = tmp_path / "wrong.conf"
    configuration.write_text("[INPUT]\n    name tail\n    path /x\n    tga y\n[OUTPUT]\n    name stdout\n    match *\n")

    dry, wet = (shipper(configuration, *flags, status=status)[1] for flags, status in (((), 255), (("-D",), 1)))

    problem = f"{configuration}:4: tail: unknown option 'tga' - did you mean 'tag'?"
    assert problem in dry and problem in wet


@pytest.mark.parametrize(
    ("name", "lines", "told"),
    [
        ("tcp", "port 99999", "3: tcp: option 'port' 99999 is not a port"),
        ("udp", "port -1", "3: udp: option 'port' -1 is not a port"),
        ("http", "tls on", "1: http: option 'tls.crt_file' is needed to listen with TLS"),
        ("forward", f"unix_path /{'x' * 200}", "3: forward: option 'unix_path' is longer than 107 bytes"),
    ],
)
def test_w1_where_nobody_can_listen_is_found_by_a_dry_run(tmp_path: Path, name: str, lines: str, told: str) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(f"[INPUT]\n    name {name}\n    {lines}\n[OUTPUT]\n    name null\n    match *\n")

    for flags, status in ((), 255), (("--dry-run",), 1):
        assert f"{configuration}:{told}" in shipper(configuration, *flags, status=status)[1]


def test_w1_a_status_that_is_not_answered_is_told(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    lines = "name http\n    successful_response_code 500"
    configuration.write_text(f"[INPUT]\n    {lines}\n[OUTPUT]\n    name null\n    match *\n")

    _, told = shipper(configuration, "--dry-run")

    assert f"{configuration}:3: http: option 'successful_response_code': 500 is not one of 200, 201 and 204" in told


def test_w1_a_match_that_fits_no_tag_is_told(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text("[INPUT]\n    name dummy\n    tag app\n[OUTPUT]\n    name stdout\n    match ap\n")

    _, told = shipper(configuration, "--dry-run")

    assert f"{configuration}:6: stdout: match 'ap' fits no tag of any input" in told


# -- W2: variables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "variables", "shown", "told_of"),
    [
        pytest.param("${X}", {"X": "value"}, "value", None, id="set"),
        pytest.param("${X:-other}", {}, "other", None, id="unset with a default"),
        pytest.param("${X:-other}", {"X": ""}, "other", None, id="empty with a default"),
        pytest.param("${X:-other}", {"X": "value"}, "value", None, id="set with a default"),
        pytest.param("a.${X}.b", {}, "a..b", "used but not set", id="unset"),
        pytest.param("a.${X}.b", {"X": ""}, "a..b", "empty", id="empty"),
        pytest.param("${X}", {"X": "${Y}", "Y": "y"}, "${Y}", None, id="not expanded twice"),
        pytest.param("${FILE}", {}, "from the file", None, id="from a file"),
    ],
)
def test_w2_variables_have_defaults_and_an_unset_one_is_told(
    tmp_path: Path, written: str, variables: dict[str, str], shown: str, told_of: str | None
) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(
        f"@SET FILE=file://{tmp_path}/secret\n[INPUT]\n    name dummy\n    tag {written}\n"
        "[OUTPUT]\n    name stdout\n    match *\n"
    )

    printed, told = shipper(configuration, "--dry-run", "-v", variables=variables)

    assert re.search(rf"^    tag +{re.escape(shown)} +\S+:4, \$\{{", printed, re.MULTILINE)
    remarks = re.findall(rf"{re.escape(str(configuration))}:4: \[env\] variable \$\{{X\}} is (.*)", told)
    assert remarks == ([] if told_of is None else [told_of])


def test_w2_a_required_option_that_is_empty_because_of_a_variable_is_refused(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(
        "[INPUT]\n    name tail\n    path ${NO_SUCH_FOLDER}\n[OUTPUT]\n    name null\n    match *\n"
    )

    _, told = shipper(configuration, "--dry-run", status=1)

    assert f"{configuration}:3: tail: option 'path' is empty because ${{NO_SUCH_FOLDER}} is empty or not set" in told


def test_w2_a_file_to_include_may_be_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "part.conf").write_text("[INPUT]\n    name dummy\n    tag from.part\n")
    configuration = tmp_path / "shipper.conf"
    configuration.write_text("@INCLUDE ${PART}.conf\n[OUTPUT]\n    name stdout\n    match *\n")

    printed, _ = shipper(configuration, "--dry-run", "-v", variables={"PART": "part"})

    assert re.search(r"^    tag +from\.part +\S+part\.conf:3$", printed, re.MULTILINE)


# -- W3, Y3: the configuration in force --------------------------------------------------------------------------------

IN_FORCE = """[OUTPUT] http.0
    name         http                         {folder}/part.conf:2
    match        *                            {folder}/part.conf:3
    host         there.example                {folder}/part.conf:4, ${{THERE}}
    proxy        http://<hidden>@proxy:3128   {folder}/part.conf:5
    http_passwd  <hidden>                     {folder}/part.conf:6
"""


def test_w3_a_dry_run_shows_every_value_with_its_origin_and_hides_secrets(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text("@SET THERE=there.example\n[INPUT]\n    name dummy\n@INCLUDE part.conf\n")
    (tmp_path / "part.conf").write_text(
        "[OUTPUT]\n    name http\n    match *\n    host ${THERE}\n    proxy http://me:planted@proxy:3128\n"
        "    http_passwd planted\n"
    )

    printed, _ = shipper(configuration, "--dry-run", "-v")

    words = [line.split() for line in printed.splitlines()]
    assert [line.split() for line in IN_FORCE.format(folder=tmp_path).splitlines()] == [
        line for line in words if "part.conf:" in " ".join(line) or line == ["[OUTPUT]", "http.0"]
    ]
    assert ["net.keepalive", "on", "default"] in words
    assert "planted" not in printed


def test_y3_the_hash_of_the_configuration_in_force_is_told_at_the_start_at_a_reload_and_by_the_api(
    tmp_path: Path,
) -> None:
    with Station(tmp_path, service="hot_reload on; http_server on; http_port 0") as station:
        station.start()
        api, files = Api(station), [str(tmp_path / "shipper.conf")]
        first, first_page = sha256_of(tmp_path), api.json("/config")
        part = tmp_path / "part.conf"
        part.write_text("[FILTER]\n    name grep\n    match *\n    regex log .\n")
        text = (tmp_path / "shipper.conf").read_text()
        station.configure(f"@INCLUDE {part}\n{text}")
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("successful reload done")
        second, second_page = sha256_of(tmp_path, "part.conf"), api.json("/config")
        station.configure("[INPUT]\n    name nothing\n")
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("Reloading is halted")
        refused_page = api.json("/config")
        told = station.shipper.log().decode()
        station.stop()

        assert first_page == {"sha256": first, "files": files}
        assert second_page == refused_page == {"sha256": second, "files": [*files, str(part)]}
        assert re.findall(r"\[config\] sha256=(\w+), files=(.*)", told) == [
            (first, files[0]),
            (second, f"{files[0]} {part}"),
        ]


def sha256_of(folder: Path, *more: str) -> str:
    """What `cat shipper.conf MORE... | sha256sum` prints."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("shipper.conf", *more))).hexdigest()


# -- W4: cycles --------------------------------------------------------------------------------------------------------


def test_w4_tags_that_are_rewritten_in_a_circle_freeze_nothing(tmp_path: Path) -> None:
    circle = "".join(
        f"[FILTER]\n    name rewrite_tag\n    match {old}.*\n    rule $log ^ {new}.$TAG[1] {keeps}\n"
        for old, new, keeps in (("t", "x", "false"), ("x", "y", "false"), ("y", "t", "false"), ("*", "t", "false"))
    )
    with Station(tmp_path, sections=circle) as station:
        log = station.log()
        log.write(2_000)
        station.start()
        station.until_arrived()
        ledger = station.stop()

        told = (tmp_path / "shipper.log").read_text()

        assert len(station.arrived()) == 2_000
        assert ledger["a"]["delivered"] == 2_000
        assert "tags may go round in a circle: t.* -> x.$TAG[1] -> t.$TAG[1]; a record passes" in told


# -- W5: secrets -------------------------------------------------------------------------------------------------------

PLANTED = "plantedsecret"


REQUIRED = {
    "cloudwatch": ("region x", "log_group_name g", "log_stream_name s"),
    "cloudwatch_logs": ("region x", "log_group_name g", "log_stream_name s"),
    "kinesis_firehose": ("region x", "delivery_stream s"),
    "kinesis_streams": ("region x", "stream s"),
    "s3": ("region x", "bucket b"),
    "syslog": ("path /nowhere", "parser own"),
}


def secrets_of_all_plugins() -> list[tuple[str, str, str]]:
    """Kind, plugin and option of all that is declared secret."""
    return [
        (kind, name, declared.name)
        for kind in KINDS
        for name in plugin_names(kind)
        if (plugin := find_plugin(kind, name)) is not None
        for declared in declared_options(plugin.Options)
        if declared.words.secret
    ]


def test_w5_nothing_that_is_printed_holds_a_secret(tmp_path: Path) -> None:
    special = {"header": f"Authorization {PLANTED}", "security.users": f"me {PLANTED}", "http_api_key": PLANTED}
    sections = [
        f"[{kind.upper()}]\n    name {name}\n    {option} {special.get(option, PLANTED)}\n"
        + "".join(f"    {line}\n" for line in REQUIRED.get(name, ()))
        + ("    shared_key x\n" if option == "security.users" else "")
        + ("    match none\n" if kind != "input" else "    tag x\n")
        for kind, name, option in secrets_of_all_plugins()
    ]
    sections.append(f"[OUTPUT]\n    name http\n    match none\n    proxy http://me:{PLANTED}@127.0.0.1:1\n")
    configuration = tmp_path / "shipper.conf"
    (tmp_path / "parsers.conf").write_text("[PARSER]\n    name own\n    format json\n")
    configuration.write_text(f"[SERVICE]\n    parsers_file {tmp_path}/parsers.conf\n" + "".join(sections))

    printed = [
        *shipper(configuration, "--sosreport", status=1),
        *shipper(configuration, "--dry-run", "-v"),
        *shipper(configuration, "--dry-run", "-vv"),
    ]

    assert len(sections) > 20
    assert all("<hidden>" in text for text in (printed[0], printed[2]))
    assert not any(PLANTED in text for text in printed)


@pytest.mark.parametrize(
    "line",
    [
        f"http_passwd:{PLANTED}",
        f"http_passwd={PLANTED}",
        f"proxy me:{PLANTED}@127.0.0.1:1",
        f"proxy http://me:a@{PLANTED}@127.0.0.1:1",
        f"uri /push?token={PLANTED}&x=1",
        f"uri /push?a=1&api_key={PLANTED}",
        f"oauth2.token_url me:{PLANTED}@127.0.0.1",
        f"uri /receiver/v1/http/{PLANTED}0a1b2c3d4e5f==",
        f"uri /services/T0000/{PLANTED}AbCdEfGhIjKlMnOp?x=1",
    ],
)
def test_w5_a_secret_where_none_is_expected_is_not_printed_either(tmp_path: Path, line: str) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(f"[INPUT]\n    name dummy\n[OUTPUT]\n    name http\n    match none\n    {line}\n")

    runs = [("--sosreport",), ("--dry-run", "-v"), ("--dry-run", "-vv")]
    found = [
        subprocess.run([shipper_command(), "-c", str(configuration), *more], capture_output=True, text=True, timeout=30)
        for more in runs
    ]

    assert not any(PLANTED in run.stdout + run.stderr for run in found)
    assert all(run.stdout + run.stderr for run in found)


@pytest.mark.parametrize(
    "uri", ["/loki/api/v1/push", "/services/collector/event", "/v1/input?dd=1", "/in/logs-2026-11"]
)
def test_w5_an_address_without_a_secret_is_printed(tmp_path: Path, uri: str) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(f"[INPUT]\n    name dummy\n[OUTPUT]\n    name http\n    match none\n    uri {uri}\n")

    printed, _ = shipper(configuration, "--dry-run", "-v")

    assert re.search(rf"^    uri +{re.escape(uri)} ", printed, re.MULTILINE)


def test_w5_commands_are_not_printed_because_they_may_hold_secrets(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(
        f"[INPUT]\n    name exec\n    tag kube.x\n    command curl -u admin:{PLANTED} http://127.0.0.1/\n"
        f"[FILTER]\n    name kubernetes\n    match kube.*\n    kube_token_command vault read -token={PLANTED}\n"
        "[OUTPUT]\n    name null\n    match *\n"
    )

    printed = [*shipper(configuration, "--dry-run", "-v"), *shipper(configuration, "--sosreport", status=1)]

    assert all("<hidden>" in text for text in (printed[0], printed[2]))
    assert PLANTED not in "".join(printed)


def test_w5_a_setting_that_cannot_be_read_is_not_printed(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(f"@SET {PLANTED}\n[INPUT]\n    name dummy\n[OUTPUT]\n    name null\n    match *\n")

    printed = shipper(configuration, "--dry-run", "-v")

    assert "[meta SET] invalid parameter is ignored" in "".join(printed)
    assert PLANTED not in "".join(printed)
