"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that has other work draws slowly; that says nothing about a strategy.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
