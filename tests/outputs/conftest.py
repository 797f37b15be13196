"""Fixtures of tests that run over several outputs."""

from tests.components.moto_server import aws_keys
from tests.outputs.s3.server import s3

__all__ = ["aws_keys", "s3"]
