"""Options that concern requests as a whole, lanes, and the example configuration."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.cli import main
from shipper.outputs.loki.output import LANES

from ...components.loki import LokiStandIn
from .making import batch, bodies, lines_of, logs, output, requests, streams

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ("http_user alice\nhttp_passwd s3cr:et", "Authorization", "Basic YWxpY2U6czNjcjpldA=="),
        ("bearer_token abc", "Authorization", "Bearer abc"),
        ("bearer_token abc\nhttp_user alice", "Authorization", "Basic YWxpY2U6"),
        ("header X-Custom some value", "X-Custom", "some value"),
        ("compress gzip", "Content-Encoding", "gzip"),
        ("compress zstd", "Content-Encoding", None),
        ("format protobuf", "Content-Type", "application/x-protobuf"),
        ("", "User-Agent", "Fluent-Bit"),
    ],
)
def test_headers(options: str, name: str, value: str | None) -> None:
    assert output(options)._push.headers.get(name) == value


def test_compressed_bodies_hold_the_same_and_are_always_the_same() -> None:
    (packed,) = bodies("labels job=x\ncompress gzip", logs("a", "b"))

    assert [gzip.decompress(packed)] == bodies("labels job=x", logs("a", "b"))
    assert bodies("labels job=x\ncompress gzip", logs("a", "b")) == [packed]


def test_a_label_map_names_labels_by_place(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"kubernetes": {"labels": {"app.io/name": "app"}}, "stream": "s"}))
    record = {"kubernetes": {"labels": {"app.io/name": "web", "x": "y"}}, "stream": "stdout", "log": "l"}

    assert streams(f"label_map_path {file}", batch(record)) == [
        ({"app": "web", "s": "stdout"}, [['{"kubernetes":{"labels":{"x":"y"}},"log":"l"}']])
    ]


def test_a_label_map_that_cannot_be_read_does_not_end_the_start(tmp_path: Path) -> None:
    assert streams(f"label_map_path {tmp_path}/none.json", logs("x"))[0][0] == {"job": "fluent-bit"}


def test_records_stay_as_they_are_when_keys_are_left_out_of_lines() -> None:
    shared = {"labels": {"a": "1", "b": "2"}, "list": ["x", "y"]}
    records = batch({"kubernetes": shared, "log": "1"}, {"kubernetes": shared, "log": "2"})
    lines = lines_of("remove_keys $kubernetes['labels']['a'], kubernetes['list'][0], $nothing['x']", records)

    assert lines == [f'{{"kubernetes":{{"labels":{{"b":"2"}},"list":["y"]}},"log":"{n}"}}' for n in (1, 2)]
    assert shared == {"labels": {"a": "1", "b": "2"}, "list": ["x", "y"]}


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00", 7, True, {"a": 1}, ["a"]])
def test_what_cannot_be_a_tenant_goes_to_the_usual_one_with_a_warning(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "shipper"):
        made = requests(output("tenant_id_key $t\ntenant_id usual"), batch({"t": value}, {"t": "other"}))

    assert [request.tenant for request in made] == ["usual", "other"]
    assert caplog.text.count("such records go to tenant_id") == 1


def test_records_that_name_no_tenant_go_to_the_usual_one_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "shipper"):
        [made] = requests(output("tenant_id_key $t\ntenant_id usual"), batch({"t": ""}, {"n": 1}))

    assert (made.tenant, made.records, caplog.text) == ("usual", 2, "")


async def test_tenants_stay_apart_whatever_letters_they_have() -> None:
    server = LokiStandIn()
    await server.start()
    made = output(f"tenant_id_key $t\nhost 127.0.0.1\nport {server.port}")
    await made.open()
    try:
        await made.send(Delivery("", [batch({"t": "ünï"}, {"t": "énô"})]))
    finally:
        await made.close()
        await server.stop()

    names = {s.tenant.encode("latin-1").decode() for s in server.store.entries}
    assert names == {"ünï", "énô"}


def test_texts_of_any_kind_are_lines() -> None:
    texts = ["é\x7f", "\ud800", 'q"\\\n\t', ""]

    assert lines_of("drop_single_key raw", logs(*texts)) == ["é\x7f", "\ufffd", 'q"\\\n\t', ""]
    assert lines_of("drop_single_key raw", logs("a\x7fb", "c")) == ["a\x7fb", "c"]


def test_the_first_tags_have_lanes_of_their_own_and_there_are_never_many() -> None:
    made = output()
    lanes = [made.lane(logs("x", tag=f"tag{n}")) for n in range(1000)]

    assert len(set(lanes[:LANES])) == LANES
    assert len(set(lanes)) <= 2 * LANES
    assert lanes == [made.lane(logs("x", tag=f"tag{n}")) for n in range(1000)]


@pytest.mark.parametrize(
    "name", ["kube.var.log.containers.web-{}_shop_app-0123.log", "app.{}", "kube.c{}.log", "host-{}.dmesg"]
)
@pytest.mark.parametrize(("tags", "lanes", "most"), [(8, 5, 3), (640, 60, 25), (6400, 64, 170)])
def test_tags_that_share_lanes_are_spread_over_them(name: str, tags: int, lanes: int, most: int) -> None:
    made = output()
    for n in range(LANES):
        made.lane(logs("x", tag=f"early{n}"))
    found = Counter(made.lane(logs("x", tag=name.format(n))) for n in range(tags))

    assert len(found) >= lanes
    assert max(found.values()) <= most


def test_the_example_passes_the_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    code = main(["--dry-run", "-c", str(REPOSITORY / "config" / "loki.conf")])

    told = capsys.readouterr()
    assert code == 0, told.err
    assert "warn" not in told.out + told.err
