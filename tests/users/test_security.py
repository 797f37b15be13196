"""Users' rows SEC2 to SEC6: what comes from others reaches no place that was not meant for it.

SEC3 is about the docker input, which we do not have; the start says so, and that names may be of any length is shown
with those of tags. SEC4: tags of network inputs have a prefix of their own if `tag_prefix` says so; without it they are
kept, as in Fluent Bit, and the start warns. SEC5: printable characters of any language stay in tags; what is special to
a destination is replaced there. SEC6: half an authentication is refused; a listener without any that others can reach
is a warning and does not take `insecure: true`, because configurations of Fluent Bit have to start here as they are.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import string
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.codecs.msgpack_stream import ValueReader
from tests.outputs.s3.server import SmallS3, s3

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .storing import Station
from .test_configuration import shipper
from .test_push_inputs import unused_port

__all__ = ["s3"]

NASTY = [
    *("../", "..", "/etc/passwd", "../../../../tmp/x", "/", "//", ".", "./", "..\\", "C:\\", "~", "~root/"),
    *("\x00", "\n", "\r\n", "\t", "\x1b[31m", "\x7f", "\u202e", "\u2028", "\ufeff", "\u0085"),
    *("%2e%2e%2f", "%00", "$TAG", "${HOME}", "$(id)", "`id`", "|id", ";id", "&&", "*", "?", ":", "'", '"', "<", ">"),
    *(" ", "#", "-", "--", "é", "😀", "\ud7ff", "x" * 300, "y" * 10_240, "é" * 600, "con", "logs/../../x"),
]


def hostile_tags(count: int) -> list[str]:
    """All nasty texts in front, behind and in the middle, then mixtures; none is a file where another is a folder."""
    rng = random.Random(1)
    tags = [text for one in NASTY for text in (one, f"{one}app", f"app{one}", f"a{one}b", f"a.{one}.b", f"{one}/{one}")]
    while len(tags) < count:
        tags.append("".join(rng.choices([*NASTY, *string.ascii_letters], k=rng.randint(1, 6))))
    return [f"{tag}-{number}" for number, tag in enumerate(tags[:count])]


# -- SEC2, SEC3, SEC5: values from data in names -----------------------------------------------------------------------

_RETAG = "[FILTER]\n    name rewrite_tag\n    match t.*\n    rule $to ^ $to false\n"
_PARSERS = "[PARSER]\n    name hostile\n    format json\n"


class Names:
    """A CloudWatch Logs that remembers every group and stream it was asked for."""

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.streams: set[str] = set()

    def decide(self, operation: str, body: dict[str, Any]) -> Answer:
        self.groups.add(body["logGroupName"])
        self.streams |= {body["logStreamName"]} if "logStreamName" in body else set()
        return OK


@pytest.mark.parametrize(
    "tags", [hostile_tags(500), [one for one in NASTY if "/" not in one]], ids=["mixtures", "nothing else"]
)
def test_sec2_sec3_sec5_hostile_tags_leave_no_folder_and_make_valid_names(
    tmp_path: Path, s3: SmallS3, tags: list[str]
) -> None:
    names, root = Names(), tmp_path / "root"
    root.mkdir()
    (tmp_path / "parsers.conf").write_text(_PARSERS)
    to_s3 = (
        f"[OUTPUT]\n    name s3\n    alias s3\n    match *\n    bucket b\n    region us-east-1\n    endpoint {s3.url}\n"
        f"    store_dir {tmp_path}/store\n    upload_timeout 1s\n    use_put_object on\n"
        "    s3_key_format /logs/$UUID/$TAG/$TAG[1]\n"
    )
    to_files = (
        f"[OUTPUT]\n    name file\n    alias files\n    match *\n    path {root}\n    mkdir on\n    format plain\n"
    )
    with CloudWatch(names.decide) as service:
        sections = _RETAG + to_s3 + to_files + service.output("log_group_template /logs/$to", "log_stream_template $to")
        with Station(
            tmp_path,
            (),
            service=f"parsers_file {tmp_path}/parsers.conf",
            tail="parser hostile; storage.type memory; buffer_max_size 128k",
            sections=sections,
            variables=CREDENTIALS,
        ) as station:
            (tmp_path / "var" / "app.log").write_text(
                "".join(json.dumps({"to": tag, "log": f"line {n}"}) + "\n" for n, tag in enumerate(tags))
            )
            station.start()
            station.until(lambda: len(set(service.all_messages())) == len(tags), 60)
            station.until(lambda: len(lines_below(root)) == len(tags), 60)
            station.until(lambda: sum(one.text.count("\n") for one in list(s3.objects.values())) == len(tags), 60)
            station.stop()

    assert s3.wrong == []
    assert [key for key in s3.objects if not is_fine_key(key)] == []
    assert [name for name in names.streams if not re.fullmatch(r"[^:*]{1,512}", name, re.DOTALL)] == []
    assert [name for name in names.groups if not re.fullmatch(r"[\w./#-]{1,512}", name, re.ASCII)] == []
    assert {path.name for path in tmp_path.iterdir()} == {
        *("parsers.conf", "root", "shipper.conf", "shipper.log", "storage", "store", "tail.db", "var")
    } | {path.name for path in tmp_path.glob("tail.db-*")}
    assert [path for path in root.rglob("*") if not path.name.isprintable() or path.is_symlink()] == []


def lines_below(folder: Path) -> list[str]:
    return [line for path in folder.rglob("*") if path.is_file() for line in path.read_text().splitlines()]


def is_fine_key(key: str) -> bool:
    parts = key.split("/")
    return (
        parts[0] == "logs"
        and not {".", ".."} & set(parts)
        and len(key.encode()) <= 1024
        and not re.search(r"[\x00-\x1f\x7f]", key)
    )


def test_sec3_the_docker_input_is_refused_by_its_name(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text("[INPUT]\n    name docker\n[OUTPUT]\n    name null\n    match *\n")

    _, told = shipper(configuration, "--dry-run", status=1)

    assert re.search(rf"{configuration}:2: section 'docker' .* no input is called so", told)


# -- SEC4, SEC5: tags from senders -------------------------------------------------------------------------------------


def http_station(folder: Path, port: int, options: str = "") -> Station:
    listener = f"[INPUT]\n    name http\n    port {port}\n    tag own.http\n    tag_key tag\n{options}"
    writer = f"[OUTPUT]\n    name file\n    match *\n    path {folder}/out\n    file all\n"
    return Station(folder, (), sections=listener + writer)


def post(port: int, body: object, path: str = "/") -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status


def tags_of(folder: Path) -> list[str]:
    """The tags of what arrived, in the format `TAG: [TIME, {...}]`."""
    try:
        text = (folder / "out" / "all").read_text()
    except FileNotFoundError:
        return []
    return [line.rpartition(": [")[0] for line in text.split("\n")[:-1]]


@pytest.mark.parametrize(
    ("record", "tag"),
    [
        pytest.param({"tag": "app"}, "app", id="its own name"),
        pytest.param({"t": "app"}, "own.http", id="its first character"),
        pytest.param({"ta": "app"}, "own.http", id="its beginning"),
        pytest.param({"tags": "app"}, "own.http", id="more than it"),
        pytest.param({"TAG": "app"}, "own.http", id="another case"),
        pytest.param({"tag": ["app"]}, "own.http", id="no text"),
        pytest.param({"tag": ""}, "own.http", id="empty"),
        pytest.param({"tag": "a\nb"}, "a_b", id="a newline"),
        pytest.param({"tag": "a\x00\x1b[31m\r\nb"}, None, id="control characters"),
    ],
)
def test_sec4_sec5_the_field_of_the_tag_is_compared_as_a_whole_and_cleaned(
    tmp_path: Path, record: dict[str, Any], tag: str | None
) -> None:
    (tmp_path / "out").mkdir()
    port = unused_port()
    with http_station(tmp_path, port) as station:
        station.start(until_watching=False)
        station.until_told(r"\[input:http:http\.\d\] listening|\[shipper\] version")
        station.until(lambda: can_connect(port))
        assert post(port, {**record, "log": "x"}) == 201
        station.until(lambda: tags_of(tmp_path) != [])
        station.stop()

    (found,) = tags_of(tmp_path)
    assert found.isprintable()
    assert tag is None or found == tag


def can_connect(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("path", "record", "tag"),
    [
        ("/t.var.log.app", {"log": "x"}, "net.t.var.log.app"),
        ("/", {"tag": "t.var.log.app"}, "net.t.var.log.app"),
        ("http://t.var.log.app/t.var.log.app", {"log": "x"}, "net.t.var.log.app"),
        ("/", {"log": "x"}, "own.http"),
    ],
)
def test_sec4_with_a_prefix_no_client_can_take_the_tag_of_a_local_input(
    tmp_path: Path, path: str, record: dict[str, Any], tag: str
) -> None:
    (tmp_path / "out").mkdir()
    port = unused_port()
    with http_station(tmp_path, port, "    tag_prefix net.\n") as station:
        station.start(until_watching=False)
        station.until(lambda: can_connect(port))
        assert post(port, record, path) == 201
        station.until(lambda: tags_of(tmp_path) != [])
        station.stop()

    assert tags_of(tmp_path) == [tag]


def test_sec4_with_a_prefix_no_sender_can_take_the_tag_of_a_local_input(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    port, wanted = unused_port(), "t.var.log.app"
    listener = f"[INPUT]\n    name forward\n    port {port}\n    tag_prefix net.\n"
    writer = f"[OUTPUT]\n    name file\n    match *\n    path {tmp_path}/out\n    file all\n"
    with Station(tmp_path, (), sections=listener + writer) as station:
        station.start(until_watching=False)
        station.until(lambda: can_connect(port))
        with closing(socket.create_connection(("127.0.0.1", port))) as sender:
            sender.sendall(msgspec.msgpack.encode([wanted, 1_795_000_000, {"log": "x"}]))
        station.until(lambda: tags_of(tmp_path) != [])
        station.stop()

    assert tags_of(tmp_path) == [f"net.{wanted}"]


@pytest.mark.parametrize(
    ("told", "tag"),
    [
        pytest.param("a\nforged: [0, {}]", "a_forged: [0, {}]", id="a newline"),
        pytest.param("a\x00\x1b[31m\r\nb", "a__[31m__b", id="control characters"),
        pytest.param("", "forward.1", id="empty"),
    ],
)
def test_sec5_no_sender_forges_a_line_by_its_tag(tmp_path: Path, told: str, tag: str) -> None:
    (tmp_path / "out").mkdir()
    port = unused_port()
    listener = f"[INPUT]\n    name forward\n    port {port}\n"
    writer = f"[OUTPUT]\n    name file\n    match *\n    path {tmp_path}/out\n    file all\n"
    with Station(tmp_path, (), sections=listener + writer) as station:
        station.start(until_watching=False)
        station.until(lambda: can_connect(port))
        with closing(socket.create_connection(("127.0.0.1", port))) as sender:
            sender.sendall(msgspec.msgpack.encode([told, 1_795_000_000, {"log": "x"}]))
        station.until(lambda: tags_of(tmp_path) != [])
        station.stop()

    assert tags_of(tmp_path) == [tag]


# -- SEC6: authentication that is half there ---------------------------------------------------------------------------

_KEY, _EMPTY, _USERS = "shared_key k", "empty_shared_key on", "security.users me secret"


@pytest.mark.parametrize("options", [(_KEY,), (_EMPTY,), (_KEY, _USERS), (_EMPTY, _USERS)], ids=" + ".join)
def test_sec6_whoever_does_not_authenticate_gets_nothing_in(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "out").mkdir()
    port = unused_port()
    listener = f"[INPUT]\n    name forward\n    port {port}\n" + "".join(f"    {option}\n" for option in options)
    writer = f"[OUTPUT]\n    name file\n    match *\n    path {tmp_path}/out\n    file all\n"
    with Station(tmp_path, (), sections=listener + writer) as station:
        station.start(until_watching=False)
        station.until(lambda: can_connect(port))
        answers = [list(talk(port, first)) for first in first_words()]
        ledger = station.stop()

        assert all(kinds[:1] == ["HELO"] and kinds[1:] in ([], ["PONG refused"]) for kinds in answers), answers
        assert ledger["forward.1"]["stored"] == 0
        assert tags_of(tmp_path) == []


def first_words() -> Iterator[bytes]:
    """What somebody tries who does not know the secrets."""
    encode = msgspec.msgpack.encode
    yield encode(["t.x", 1_795_000_000, {"log": "x"}])
    yield encode(["PING", "me", "salt", "0" * 128, "", ""])
    yield encode(["PING", "me", "salt", "0" * 128, "me", "0" * 128])
    yield encode(["PING", "", "", "", "", ""]) + encode(["t.x", 1_795_000_000, {"log": "x"}])
    yield encode(["PONG", True, "", "me", ""]) + encode(["t.x", 1_795_000_000, {"log": "x"}])


def talk(port: int, words: bytes) -> Iterator[str]:
    """The kinds of messages that the other side sends until it closes the connection."""
    values = ValueReader()
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(words)
        while data := connection.recv(65536):
            for kind, *rest in values.feed(data):
                name = kind.decode()
                yield f"PONG {'refused' if rest[0] is False else 'let in'}" if name == "PONG" else name


def test_sec6_users_without_a_key_are_refused_at_the_start(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(f"[INPUT]\n    name forward\n    {_USERS}\n[OUTPUT]\n    name null\n    match *\n")

    _, told = shipper(configuration, status=255)

    assert f"{configuration}:3: forward: option 'security.users' nobody would be asked for a password" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "option",
    ["shared_key", "empty_shared_key", "security.users", "tls.verify_client_cert"],
)
@pytest.mark.parametrize("form", ["classic", "yaml", "yaml, nothing there"])
def test_sec6_authentication_that_is_written_and_empty_is_refused_at_the_start(
    tmp_path: Path, option: str, form: str
) -> None:
    """As with a secret that is missing; what is beside it is whole, so that it does not refuse the rest."""
    whole = {"shared_key": "k"} if option == "security.users" else {"tls": "on"}
    given = {**whole, option: "${NOT_SET_ANYWHERE}" if form != "yaml, nothing there" else ""}
    if form == "classic":
        configuration = tmp_path / "shipper.conf"
        options = "".join(f"    {key} {value}\n" for key, value in given.items())
        configuration.write_text(f"[INPUT]\n    name forward\n{options}[OUTPUT]\n    name null\n    match *\n")
    else:
        configuration = tmp_path / "shipper.yaml"
        configuration.write_text(
            json.dumps(
                {
                    "pipeline": {
                        "inputs": [{"name": "forward", **given}],
                        "outputs": [{"name": "null", "match": "*"}],
                    }
                }
            )
        )

    for flags, status in ((), 255), (("--dry-run",), 1):
        _, told = shipper(configuration, *flags, status=status)

        assert re.search(rf"{configuration}:\d+(:\d+)?: forward: option '{re.escape(option)}'", told), told


@pytest.mark.parametrize(
    ("plugin", "options", "is_told"),
    [
        ("forward", "", True),
        ("http", "", True),
        ("tcp", "", True),
        ("udp", "", True),
        ("syslog", "    mode tcp\n    parser p\n", True),
        ("syslog", "    mode udp\n    parser p\n", True),
        ("tcp", "    listen 127.0.0.1\n", False),
        ("forward", f"    {_KEY}\n", False),
    ],
)
def test_sec6_a_listener_that_lets_everybody_in_is_told(
    tmp_path: Path, plugin: str, options: str, is_told: bool
) -> None:
    (tmp_path / "parsers.conf").write_text("[PARSER]\n    name p\n    format json\n")
    port = unused_port()
    sections = f"[INPUT]\n    name {plugin}\n    port {port}\n{options}[OUTPUT]\n    name null\n    match *\n"
    with Station(tmp_path, (), service=f"parsers_file {tmp_path}/parsers.conf", sections=sections) as station:
        station.start(until_watching=False)
        station.until_told(rf"{plugin}\.1\] listening on")
        station.stop()
        log = station.shipper.log().decode()

    assert ("nobody is asked who they are" in log) is is_told
