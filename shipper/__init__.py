"""A log shipper that reads Fluent Bit configuration, loses nothing and proves it."""

__version__ = "0.1.0"

COMPATIBLE_VERSION = "5.1.1"
"""The version of Fluent Bit whose configuration and behaviour this program takes over."""
