from __future__ import annotations

from shipper.metrics import Metrics


def test_the_same_name_and_labels_are_the_same_counter_in_any_order() -> None:
    metrics = Metrics()
    metrics.counter("n_total", a="1", b="2").add(3)

    assert metrics.counter("n_total", b="2", a="1").value == 3


def test_a_total_sums_all_counters_that_have_these_labels() -> None:
    metrics = Metrics()
    metrics.counter("n_total", name="x", reason="old").add(1)
    metrics.counter("n_total", name="x", reason="big").add(2)
    metrics.counter("n_total", name="y", reason="old").add(4)
    metrics.counter("other_total", name="x").add(8)

    assert metrics.total("n_total", name="x") == 3
    assert metrics.total("n_total") == 7
    assert metrics.by_label("n_total", "reason") == {"old": 5, "big": 2}
    assert metrics.by_label("n_total", "reason", name="x") == {"old": 1, "big": 2}


def test_a_gauge_is_asked_when_somebody_looks_and_the_last_registration_counts() -> None:
    metrics, level = Metrics(), [1.0]
    metrics.gauge("level", lambda: -1.0, name="x")
    metrics.gauge("level", lambda: level[0], name="x")
    level[0] = 2.0

    assert metrics.value("level", name="x") == 2.0


def test_what_was_never_counted_is_zero() -> None:
    metrics = Metrics()

    assert (metrics.value("n_total"), metrics.total("n_total"), metrics.by_label("n_total", "a")) == (0, 0, {})


def test_everything_is_listed_counters_first_in_the_order_of_names_and_labels() -> None:
    metrics = Metrics()
    metrics.gauge("a_level", lambda: 0.5)
    metrics.counter("z_total").add(1)
    metrics.counter("m_total", name="b").add(2)
    metrics.counter("m_total", name="a").add(3)

    assert list(metrics) == [
        ("m_total", (("name", "a"),), 3),
        ("m_total", (("name", "b"),), 2),
        ("z_total", (), 1),
        ("a_level", (), 0.5),
    ]
