"""A log shipper that reads Fluent Bit configuration, loses nothing and proves it."""

__version__ = "0.1.0"
