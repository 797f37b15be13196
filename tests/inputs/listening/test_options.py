"""What the options of a listener alone show: that it cannot listen anywhere, or whom it lets choose tags."""

from __future__ import annotations

import logging

import pytest

from shipper.errors import OptionError
from shipper.inputs.forward.input import ForwardInput
from shipper.inputs.http.input import HttpInput
from shipper.inputs.listening import PushInput
from shipper.inputs.tcp import TcpInput
from shipper.inputs.udp import UdpInput

from .running import Running


@pytest.mark.parametrize("plugin", [TcpInput, UdpInput, HttpInput, ForwardInput])
@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_what_is_no_port_is_refused_before_anything_is_opened(plugin: type[PushInput], port: str) -> None:
    with pytest.raises(OptionError, match=f"{port} is not a port") as failure:
        Running(plugin, f"listen 127.0.0.1\nport {port}")

    assert failure.value.option == "port"


@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ("tls on", "tls.crt_file"),
        ("tls on\ntls.crt_file x\ntls.verify_client_cert on", "tls.ca_file"),
        ("tls on\ntls.crt_file x\ntls.min_version 7", "tls.min_version"),
        ("tls on\ntls.crt_file x\ntls.max_version new", "tls.max_version"),
    ],
)
def test_tls_that_cannot_work_anywhere_is_refused_before_anything_is_opened(lines: str, option: str) -> None:
    with pytest.raises(OptionError) as failure:
        Running(TcpInput, lines)

    assert failure.value.option == option


def test_a_path_that_is_too_long_for_a_socket_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(OptionError, match="longer than 107 bytes") as failure:
        Running(ForwardInput, f"unix_path /{'x' * 107}")

    assert failure.value.option == "unix_path"


CHOICE = "senders choose the tags"


@pytest.mark.parametrize(
    ("plugin", "lines", "is_told"),
    [
        (ForwardInput, "listen 0.0.0.0", True),
        (ForwardInput, "listen 0.0.0.0\nshared_key k", True),
        (ForwardInput, "listen 0.0.0.0\ntag mine", False),
        (ForwardInput, "listen 0.0.0.0\ntag_prefix net.", False),
        (ForwardInput, "listen 127.0.0.1", False),
        (HttpInput, "listen 0.0.0.0\ntag mine", True),
        (HttpInput, "listen 0.0.0.0\ntag_prefix net.", False),
        (HttpInput, "listen 127.0.0.1", False),
        (TcpInput, "listen 0.0.0.0", False),
    ],
)
async def test_it_is_told_at_the_start_where_senders_can_take_the_tags_of_other_inputs(
    caplog: pytest.LogCaptureFixture, plugin: type[PushInput], lines: str, is_told: bool
) -> None:
    with caplog.at_level(logging.INFO, "shipper"):
        async with Running(plugin, f"{lines}\nport 0") as running:
            await running.until(lambda: "listening on" in caplog.text)

    assert (CHOICE in caplog.text) is is_told
