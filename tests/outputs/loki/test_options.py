"""Options that concern requests as a whole, lanes, and the example configuration."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from shipper.cli import main
from shipper.outputs.loki.output import LANES

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


def test_a_tenant_from_a_record_cannot_end_its_header() -> None:
    (made,) = requests(output("tenant_id_key $t"), batch({"t": "a\r\nX-Evil: 1"}))

    assert made.tenant == "a__X-Evil: 1"


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
