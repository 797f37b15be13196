"""How endpoints are written."""

from __future__ import annotations

import pytest

from shipper.aws.settings import AwsError, url_of


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


def test_error_tells_code_and_words() -> None:
    assert str(AwsError("ThrottlingException", 400, "Rate exceeded")) == "ThrottlingException: Rate exceeded"
    assert str(AwsError("503", 503, "")) == "503"
