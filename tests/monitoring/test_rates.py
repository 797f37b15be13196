"""What an input brings a second, over its window."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from shipper.monitoring.monitor import Monitor
from shipper.monitoring.rates import InputRates

from .scene import Scene

Rates = tuple[float, float]


def rates_of(scene: Scene) -> Rates:
    value = scene.metrics.value
    return value("input_rate_records", name="app"), value("input_rate_bytes", name="app")


def watched(window_s: float) -> tuple[Scene, InputRates]:
    scene = Scene()
    seen = msgspec.structs.replace(scene.view.inputs[0], rate_window_s=window_s)
    return scene, InputRates(msgspec.structs.replace(scene.view, inputs=[seen]), scene.clock)


async def test_the_rate_is_that_of_the_window_and_ends_with_it() -> None:
    scene, rates = watched(4)
    found: list[Rates] = []
    for lines in (("a",) * 8, (), (), (), (), ()):
        scene.put(*lines)
        await scene.clock.advance(1)
        rates.sample()
        found.append(rates_of(scene))

    assert found == [(8, 16), (4, 8), (2.667, 5.333), (2, 4), (0, 0), (0, 0)]


@pytest.mark.parametrize("window_s", [0.0, 1.0])
async def test_a_window_no_longer_than_a_second_gives_the_rate_of_the_last_second(window_s: float) -> None:
    scene, rates = watched(window_s)
    found: list[Rates] = []
    for lines in (("a", "b", "c"), ("d",)):
        scene.put(*lines)
        await scene.clock.advance(1)
        rates.sample()
        found.append(rates_of(scene))

    assert found == [(3, 6), (1, 2)]


async def test_a_long_window_keeps_a_bounded_number_of_samples_and_is_right() -> None:
    scene, rates = watched(3600)
    for _ in range(7200):
        scene.put("a")
        await scene.clock.advance(1)
        rates.sample()

    (rate,) = rates._rates
    assert len(rate._samples) < 150
    assert rates_of(scene) == (1, 2)


def test_before_the_first_sample_there_is_no_rate() -> None:
    scene, _ = watched(1)
    scene.put("a")

    assert rates_of(scene) == (0, 0)


async def test_the_monitor_measures_while_it_runs() -> None:
    scene = Scene()
    monitor = Monitor(scene.service, scene.metrics, scene.clock)
    monitor.watch(scene.view)
    running = asyncio.ensure_future(monitor.run())
    await scene.clock.advance(1)
    scene.put("a", "b")
    await scene.clock.advance(1)
    lines = scene.get("/api/v2/metrics/prometheus").body.decode().splitlines()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert 'fluentbit_input_rate_records{name="app"} 2' in lines
    assert 'fluentbit_input_rate_bytes{name="app"} 4' in lines
    assert 'fluentbit_input_rate_gate_limited{name="app"} 0' in lines
