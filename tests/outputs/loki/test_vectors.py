"""The vectors of the output's description: options and records in, request bodies out."""

from __future__ import annotations

import pytest

from shipper.errors import ConfigError
from shipper.outputs.loki.output import LokiOptions

from ...written_options import options_from
from .making import MS, R1, R2, R3, batch, bodies, lines_of, output, requests, streams

ALL = batch(R1, R2, R3)
REST = "remove_keys kubernetes,stream,tenant,n,arr,f"
SAME = '{"log":"second","tenant":"t2","n":7,"arr":[1,"x"],"f":2.0}'
HELLO = '"log":"hello \\"w\\" \\u00e9","tenant":"t1"}'
THIRD = '{"log":"third","tenant":"t1"}'


def test_without_options_all_records_are_one_stream() -> None:
    expected = (
        rb'{"streams":[{"stream":{"job":"fluent-bit"},"values":[["1700000000001000000","{\"kubernetes\":{\"pod_name\":'
        rb"\"p1\",\"labels\":{\"app.kubernetes.io/name\":\"web\",\"1x\":\"y\",\"num\":5}},\"log\":\"hello \\\"w\\\" "
        rb'\\u00e9\",\"stream\":\"stdout\",\"tenant\":\"t1\"}"],["1700000000002000000","{\"kubernetes\":{\"pod_name\":'
        rb"\"p1\",\"labels\":{\"app.kubernetes.io/name\":\"web\"}},\"log\":\"second\",\"stream\":\"stdout\","
        rb'\"tenant\":\"t2\",\"n\":7,\"arr\":[1,\"x\"],\"f\":2.0}"],["1700000000003000000","{\"log\":\"third\",'
        rb'\"tenant\":\"t1\"}"]]}]}'
    )

    assert bodies("", ALL) == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            "labels job=fb, stream=$stream, $kubernetes['pod_name']",
            [
                (
                    {"job": "fb", "stream": "stdout", "kubernetes_pod_name": "p1"},
                    [
                        ['{"kubernetes":{"labels":{"app.kubernetes.io/name":"web","1x":"y","num":5}},' + HELLO],
                        ['{"kubernetes":{"labels":{"app.kubernetes.io/name":"web"}},' + SAME[1:]],
                    ],
                ),
                ({"job": "fb"}, [[THIRD]]),
            ],
        ),
        (
            "label_keys $kubernetes['labels']['app.kubernetes.io/name'],$stream\nremove_keys kubernetes",
            [
                ({"kubernetes_labels_app_kubernetes_io_name": "web", "stream": "stdout"}, [["{" + HELLO], [SAME]]),
                ({"job": "fluent-bit"}, [[THIRD]]),
            ],
        ),
        (
            f"auto_kubernetes_labels on\ndrop_single_key on\n{REST}",
            [
                ({"app_kubernetes_io_name": "web", "_1x": "y"}, [['"hello \\"w\\" \\u00e9"']]),
                ({"app_kubernetes_io_name": "web"}, [['"second"']]),
                ({"job": "fluent-bit"}, [['"third"']]),
            ],
        ),
        (
            f"drop_single_key raw\n{REST}",
            [({"job": "fluent-bit"}, [['hello "w" é'], ["second"], ["third"]])],
        ),
        (
            "line_format key_value\nlabels job=x",
            [
                (
                    {"job": "x"},
                    [
                        [
                            'kubernetes="map[pod_name:"p1" labels:"map[app.kubernetes.io/name:"web" 1x:"y" num:5]"]" '
                            'log="hello "w" é" stream="stdout" tenant="t1"'
                        ],
                        [
                            'kubernetes="map[pod_name:"p1" labels:"map[app.kubernetes.io/name:"web"]"]" log="second" '
                            'stream="stdout" tenant="t2" n=7 arr="[1 "x"]" f=2.0'
                        ],
                        ['log="third" tenant="t1"'],
                    ],
                )
            ],
        ),
        (
            "structured_metadata_map_keys $kubernetes['labels']\nstructured_metadata $stream, a=b\nlabels job=x",
            [
                (
                    {"job": "x"},
                    [
                        [
                            '{"kubernetes":{"pod_name":"p1"},' + HELLO,
                            {"app_kubernetes_io_name": "web", "_1x": "y", "num": "5", "stream": "stdout", "a": "b"},
                        ],
                        [
                            '{"kubernetes":{"pod_name":"p1"},' + SAME[1:],
                            {"app_kubernetes_io_name": "web", "stream": "stdout", "a": "b"},
                        ],
                        [THIRD, {"a": "b"}],
                    ],
                )
            ],
        ),
    ],
    ids=["labels", "label_keys", "auto_kubernetes_labels", "raw", "key_value", "structured_metadata"],
)
def test_vector(options: str, expected: object) -> None:
    assert streams(options, ALL) == expected


def test_tenants_of_records_get_a_request_each() -> None:
    made = requests(output("tenant_id_key tenant\nlabels job=x"), ALL)

    assert [(r.tenant, r.records) for r in made] == [("t1", 2), ("t2", 1)]


MAPS = {
    "log": "This is an interesting log message!",
    "map1": {
        "key1": "value1",
        "key2": "value2",
        "key_nested_object_1": {"sub_key1": "sub_value1", "sub_key2": False},
    },
    "map2": {"key4": "value1", "key5": False},
    "map3": {"key1": "map3_value1", "key2": "map3_value2"},
}
MAP1 = {
    "key1": "value1",
    "key2": "value2",
    "key_nested_object_1": '{"sub_key1":"sub_value1","sub_key2":false}',
}
MAP2 = {"key4": "value1", "key5": "false"}


@pytest.mark.parametrize(
    ("metadata", "maps", "expected"),
    [
        ("", "$map1", MAP1),
        ("", "$map1,$map2", MAP1 | MAP2),
        ("", "$map1['key_nested_object_1']", {"sub_key1": "sub_value1", "sub_key2": "false"}),
        ("$map2", "$map1,$map2", MAP1 | MAP2 | {"map2": '{"key4":"value1","key5":false}'}),
        (
            "key1=value_explicit",
            "$map1,$map2",
            {k: v for k, v in (MAP1 | MAP2).items() if k != "key1"} | {"key1": "value_explicit"},
        ),
        ("", "$missing_map", {}),
        ("", "$", {}),
    ],
)
def test_maps_become_structured_metadata(metadata: str, maps: str, expected: dict[str, str]) -> None:
    options = (
        "line_format key_value\ndrop_single_key on\nremove_keys map1, map2, map3\n"
        f"labels service_name=my_service_name\nstructured_metadata_map_keys {maps}"
    )
    if metadata:
        options += f"\nstructured_metadata {metadata}"
    ((labels, [[line, found]]),) = streams(options, batch(MAPS, first_ns=12345678 * 1000 * MS))

    assert labels == {"service_name": "my_service_name"}
    assert line == "This is an interesting log message!"
    assert list(found.items()) == list(expected.items())


def test_times_are_nanoseconds_as_text() -> None:
    (body,) = bodies("labels job=x", batch({"a": 1}, first_ns=12345678 * 1000 * MS))

    assert body == rb'{"streams":[{"stream":{"job":"x"},"values":[["12345678000000000","{\"a\":1}"]]}]}'


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("job=pre-$stream.x, nope=$missing, bad-key=v", {"job": "pre-$stream.x", "bad_key": "v"}),
        (
            "job=$stream.x, c=$kubernetes['labels'], d=$kubernetes['labels']['num'], e=$TAG, f=$TAG[1]",
            {
                "job": "stdout.x",
                "c": '{"app.kubernetes.io/name":"web","1x":"y","num":5}',
                "d": "5",
                "e": "app.web",
                "f": "web",
            },
        ),
        ("$TAG", {"tag": "app.web"}),
        ("env = prod", {"env": "prod"}),
        ("a=1, b=2, a=3", {"b": "2", "a": "3"}),
    ],
)
def test_labels_as_written(labels: str, expected: dict[str, str]) -> None:
    assert streams(f"labels {labels}", batch(R1))[0][0] == expected


def test_values_that_became_labels_are_not_in_the_line() -> None:
    labels = "job=$stream.x, c=$kubernetes['labels'], d=$kubernetes['labels']['num']"

    assert lines_of(f"labels {labels}", batch(R1)) == ['{"kubernetes":{"pod_name":"p1"},' + HELLO]


@pytest.mark.parametrize(
    "options",
    [
        "labels b=$kubernetes['pod_name']-z",
        "labels k=",
        "labels word",
        "labels $1x",
        "labels k=$1",
        "label_keys stream",
        "structured_metadata word",
        "structured_metadata_map_keys word",
        "drop_single_key sometimes",
        "line_format xml",
        "header Name",
        "max_streams 0",
        "uri /with blank",
    ],
)
def test_what_cannot_be_meant_ends_the_start(options: str) -> None:
    with pytest.raises(ConfigError):
        options_from(LokiOptions, options, "output")


def test_lines_hold_utf_8_if_unicode_is_not_escaped() -> None:
    (body,) = bodies("labels job=x", batch({"log": "é\x7f"}), escape=False)

    assert (
        body.decode()
        == r'{"streams":[{"stream":{"job":"x"},"values":[["1700000000001000000","{\"log\":\"é\\u007f\"}"]]}]}'
    )
