"""How endpoints are written."""

from __future__ import annotations

import pytest

from shipper.aws.settings import AwsError, configured_endpoint, is_aws_host, url_of
from shipper.errors import OptionError


@pytest.mark.parametrize(
    ("endpoint", "port", "tls", "url"),
    [
        ("logs.example", None, True, "https://logs.example"),
        ("logs.example", 8443, True, "https://logs.example:8443"),
        ("logs.example:1", 8443, False, "http://logs.example:1"),
        ("https://logs.example", None, False, "https://logs.example"),
        ("http://127.0.0.1:4566/", 1, True, "http://127.0.0.1:4566"),
        ("https://gateway/aws/logs/", None, True, "https://gateway/aws/logs"),
        ("fd00::1", None, True, "https://[fd00::1]"),
        ("[fd00::1]:80", None, False, "http://[fd00::1]:80"),
        ("  padded  ", None, True, "https://padded"),
    ],
)
def test_url_of_an_endpoint(endpoint: str, port: int | None, tls: bool, url: str) -> None:
    assert url_of(endpoint, port, tls=tls) == url


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("", "not a host"),
        ("ftp://x", "unknown scheme 'ftp'"),
        ("http://", "not a host"),
        ("a b", "not a host"),
        ("x:99999", "Port out of range"),
        ("x:y", "Port could not be cast"),
        ("https://user@x", "not a host"),
        ("https://x?y", "not a host"),
    ],
)
def test_what_is_no_endpoint(endpoint: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        url_of(endpoint)


ALL, LOGS = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"
IGNORE = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


@pytest.mark.parametrize(
    ("service", "environment", "expected"),
    [
        ("logs", {}, None),
        ("logs", {ALL: "http://all:1"}, "http://all:1"),
        ("logs", {LOGS: "http://logs:1/"}, "http://logs:1"),
        ("logs", {ALL: "http://all:1", LOGS: "https://logs"}, "https://logs"),
        ("logs", {ALL: "http://all:1", LOGS: ""}, "http://all:1"),
        ("logs", {ALL: ""}, None),
        ("logs", {"AWS_ENDPOINT_URL_LOGS": "http://no"}, None),
        ("logs", {"AWS_ENDPOINT_URL_S3": "http://no"}, None),
        ("s3", {ALL: "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}, "http://s3"),
        ("kinesis", {"AWS_ENDPOINT_URL_KINESIS": "http://k"}, "http://k"),
        ("firehose", {"AWS_ENDPOINT_URL_FIREHOSE": "http://f"}, "http://f"),
        ("logs", {ALL: "http://all", LOGS: "http://logs", IGNORE: "true"}, None),
        ("logs", {ALL: "http://all", IGNORE: "True"}, None),
        ("logs", {ALL: "http://all", IGNORE: "false"}, "http://all"),
        ("logs", {ALL: "http://all", IGNORE: "1"}, "http://all"),
    ],
)
def test_the_environment_may_name_an_endpoint(service: str, environment: dict[str, str], expected: str | None) -> None:
    assert configured_endpoint(service, environment) == expected


def test_a_variable_that_is_no_endpoint_is_named() -> None:
    with pytest.raises(OptionError, match=r"AWS_ENDPOINT_URL_S3: 'ftp://x' has the unknown scheme"):
        configured_endpoint("s3", {"AWS_ENDPOINT_URL_S3": "ftp://x"})


def test_error_tells_code_and_words() -> None:
    assert str(AwsError("ThrottlingException", 400, "Rate exceeded")) == "ThrottlingException: Rate exceeded"
    assert str(AwsError("503", 503, "")) == "503"


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("logs.us-east-1.amazonaws.com", True),
        ("logs.cn-north-1.amazonaws.com.cn", True),
        ("logs-fips.us-gov-west-1.amazonaws.com", True),
        ("logs.eu-west-1.api.aws", True),
        ("vpce-1-2.LOGS.us-east-1.vpce.AMAZONAWS.com", True),
        ("logs.us-iso-east-1.c2s.ic.gov", True),
        ("localhost", False),
        ("127.0.0.1", False),
        ("amazonaws.com.example", False),
        ("notamazonaws.com", False),
        ("localstack", False),
    ],
)
def test_which_hosts_are_those_of_aws(host: str, is_it: bool) -> None:
    assert is_aws_host(host) is is_it
