"""The input against a stand-in for the API server that forgets, refuses, cuts and is slow."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shipper.inputs.kubernetes_events import collecting, listing

from ...components.http_server import Says
from ...components.kubernetes_events import EventsStandIn, event_of, events_stand_in
from .harness import Collected, NotedClock, running, until

LEADING = "Kube_Leader_Election on"


@pytest.fixture
async def api() -> AsyncIterator[EventsStandIn]:
    async with events_stand_in() as stand_in:
        yield stand_in


async def watched(api: EventsStandIn, collected: Collected, names: list[str]) -> None:
    """Wait until these events were emitted and a watch is open."""
    await until(lambda: collected.names == names and api.watches == 1)


async def test_a_watch_goes_on_where_the_last_one_ended(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])
        api.add("b")
        await watched(api, collected, ["a", "b"])
        api.end_watches()
        await until(lambda: len(api.targets) == 3)
        api.add("c")
        await watched(api, collected, ["a", "b", "c"])

    assert api.targets == [
        "/api/v1/events",
        "/api/v1/events?watch=1&resourceVersion=101&timeoutSeconds=600",
        "/api/v1/events?watch=1&resourceVersion=102&timeoutSeconds=600&allowWatchBookmarks=true",
    ]


async def test_a_bookmark_moves_the_place_to_go_on_from(api: EventsStandIn, tmp_path: Path) -> None:
    async with running(api, tmp_path) as collected:
        await watched(api, collected, [])
        api.bookmark()
        api.end_watches()
        await until(lambda: len(api.targets) == 3)

    assert "resourceVersion=101&" in api.targets[-1]
    assert collected.names == []


async def test_a_place_that_is_forgotten_is_listed_again_without_repetition(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])
        api.delay_s = 0.05
        api.cut()
        api.add("b")
        api.add("a", count=2)
        api.forget()
        await watched(api, collected, ["a", "a*2", "b"])

    assert api.targets.count("/api/v1/events") == 2


async def test_a_list_whose_token_has_expired_begins_anew(api: EventsStandIn, tmp_path: Path) -> None:
    for number in range(5):
        api.add(f"e{number}")
    async with running(api, tmp_path, "Kube_Request_Limit 2") as collected:
        collected.has_room.clear()
        await until(lambda: len(api.got) == 1)
        await asyncio.sleep(0.02)
        api.version += 1
        api.forget()
        collected.has_room.set()
        await watched(api, collected, ["e0", "e1", "e2", "e3", "e4"])

    assert len([t for t in api.targets if t == "/api/v1/events?limit=2"]) == 2


async def test_versions_that_go_back_cost_no_event(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])
        api.version, api.changes = 50, []
        api.script = [Says(status=410)]
        api.end_watches()
        api.add("b")
        await watched(api, collected, ["a", "b"])
        api.add("c")
        await watched(api, collected, ["a", "b", "c"])

    assert api.version < 100


async def test_lines_come_in_any_pieces(api: EventsStandIn, tmp_path: Path) -> None:
    api.pieces = 7
    async with running(api, tmp_path) as collected:
        await watched(api, collected, [])
        for number in range(3):
            api.add(f"e{number}", message="ö\n" * 100)
        await watched(api, collected, ["e0", "e1", "e2"])

    assert collected.records[0].body["message"] == "ö\n" * 100


async def test_an_event_is_emitted_within_a_second_of_the_watch_telling_it(api: EventsStandIn, tmp_path: Path) -> None:
    async with running(api, tmp_path, "Interval_Sec 30") as collected:
        await watched(api, collected, [])
        api.add("a")

        assert await until(lambda: collected.names == ["a"]) < 1


async def test_a_line_that_is_too_long_is_left_out_alone(
    api: EventsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LONGEST_LINE", 2000)
    async with running(api, tmp_path) as collected:
        await watched(api, collected, [])
        api.add("a", message="x" * 3000)
        api.add("b")

        await watched(api, collected, ["b"])


async def test_a_list_that_is_long_is_asked_for_in_small_pages_from_then_on(
    api: EventsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LONGEST_WHOLE", 2000)
    names = [f"e{number:02}" for number in range(40)]
    for name in names:
        api.add(name)
    async with running(api, tmp_path) as collected:
        await watched(api, collected, names)
        asked = len(api.targets)
        api.version += 1
        api.forget()
        api.end_watches()
        await until(lambda: len(api.targets) > asked + 2 and api.watches == 1)

    assert api.targets[:2] == ["/api/v1/events", "/api/v1/events?limit=200"]
    lists = [target for target in api.targets[asked:] if "watch" not in target]
    assert "/api/v1/events" not in lists
    assert len(lists) > 5


async def test_pages_whose_size_is_chosen_are_halved_if_they_are_too_long(
    api: EventsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LONGEST_PAGE", 1200)
    names = [f"e{number}" for number in range(6)]
    for name in names:
        api.add(name)
    async with running(api, tmp_path, "Kube_Request_Limit 4") as collected:
        await watched(api, collected, names)

    assert api.targets[:2] == ["/api/v1/events?limit=4", "/api/v1/events?limit=2"]


async def test_only_the_events_of_a_namespace_are_asked_for(api: EventsStandIn, tmp_path: Path) -> None:
    async with running(api, tmp_path, "Kube_Namespace shop\nKube_Watch_Timeout 0") as collected:
        await watched(api, collected, [])

    assert api.targets == [
        "/api/v1/namespaces/shop/events",
        "/api/v1/namespaces/shop/events?watch=1&resourceVersion=100",
    ]


async def test_requests_name_the_program_and_carry_the_token(api: EventsStandIn, tmp_path: Path) -> None:
    async with running(api, tmp_path):
        await until(lambda: len(api.got) == 2)

    headers = api.got[0].headers
    assert (headers["user-agent"], headers["authorization"]) == ("Fluent-Bit", "Bearer token-1")


async def test_a_rotated_token_is_used_for_the_next_request(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])
        api.token = "token-2"
        (tmp_path / "token").write_text("token-2")
        api.end_watches()
        api.add("b")

        await watched(api, collected, ["a", "b"])


@pytest.mark.parametrize("name", ["token", "ca.crt"])
async def test_a_file_of_the_account_may_appear_late(api: EventsStandIn, tmp_path: Path, name: str) -> None:
    assert api.ca_file is not None
    api.add("a")
    (tmp_path / "token").write_text("token-1")
    (tmp_path / "ca.crt").write_bytes(api.ca_file.read_bytes())
    (tmp_path / name).rename(tmp_path / "aside")
    account = f"Kube_Token_File {tmp_path}/token\nKube_CA_File {tmp_path}/ca.crt"
    (tmp_path / "token").touch()
    async with running(api, tmp_path, account) as collected:
        await asyncio.sleep(0.1)
        assert (collected.names, api.got) == ([], [])
        (tmp_path / "aside").rename(tmp_path / name)

        await watched(api, collected, ["a"])


async def test_a_server_whose_certificate_nobody_vouches_for_is_told_nothing(
    api: EventsStandIn, tmp_path: Path
) -> None:
    other = await asyncio.to_thread(certificate_of_somebody_else, tmp_path)
    async with running(api, tmp_path, f"Kube_CA_File {other}"):
        await asyncio.sleep(0.1)

    assert api.got == []


@pytest.mark.parametrize(
    "trouble",
    [
        Says(500, b"oh"),
        Says(403, b"no"),
        Says(429, b"", {"Retry-After": "0"}),
        Says(200, b'{"metadata":'),
        Says(204),
        Says(cut=True),
    ],
    ids=["500", "403", "429", "half", "204", "cut"],
)
async def test_a_list_that_fails_is_tried_again(api: EventsStandIn, tmp_path: Path, trouble: Says) -> None:
    api.add("a")
    api.script = [trouble, trouble]
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])

    assert api.script == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ADDED","object":{"met\n',
        b'{"kind":"EventList"}\n',
        b'{"type":"ERROR","object":{"code":410}}\n',
        b"[]\n",
    ],
    ids=["half", "list", "error", "array"],
)
async def test_a_watch_that_tells_nonsense_is_followed_by_a_list(
    api: EventsStandIn, tmp_path: Path, line: bytes
) -> None:
    api.add("a")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, ["a"])
        api.say(line)
        api.changes.pop()
        api.add("b")
        await until(lambda: api.targets.count("/api/v1/events") == 2)

        await watched(api, collected, ["a", "b"])


async def test_a_watch_that_is_refused_for_now_waits_as_long_as_the_server_wishes(
    api: EventsStandIn, tmp_path: Path
) -> None:
    clock = NotedClock()
    async with running(api, tmp_path, clock=clock) as collected:
        await watched(api, collected, [])
        api.script = [Says(429, b"", {"Retry-After": "7"})]
        api.end_watches()
        await until(lambda: 7.0 in clock.slept and api.watches == 1)
        api.add("a")
        await watched(api, collected, ["a"])

    assert api.targets.count("/api/v1/events") == 1


async def test_a_watch_that_ends_with_too_many_requests_goes_on_from_its_place(
    api: EventsStandIn, tmp_path: Path
) -> None:
    clock = NotedClock()
    async with running(api, tmp_path, clock=clock) as collected:
        await watched(api, collected, [])
        api.tell("ERROR", {"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 7}})
        api.changes.pop()
        await until(lambda: 7.0 in clock.slept and api.watches == 1)
        api.add("a")
        await watched(api, collected, ["a"])

    assert api.targets.count("/api/v1/events") == 1


async def test_errors_of_a_watch_that_do_not_end_are_waited_for_longer_and_longer(
    api: EventsStandIn, tmp_path: Path
) -> None:
    clock = NotedClock()
    error = b'{"type":"ERROR","object":{"kind":"Status","code":500}}\n'
    api.changes = [(api.version + 1, error), (api.version + 1, b"")]
    async with running(api, tmp_path, "Interval_Sec 1\nInterval_NSec 0", clock):
        await until(lambda: len(clock.slept) >= 6)

    assert clock.slept[:6] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


async def test_events_do_not_grow_too_old_while_the_output_is_away(api: EventsStandIn, tmp_path: Path) -> None:
    clock = NotedClock()
    names = [f"e{number}" for number in range(5)]
    async with running(api, tmp_path, "Kube_Retention_Time 5s", clock) as collected:
        await watched(api, collected, [])
        collected.has_room.clear()
        for name in names:
            api.add(name)
        clock.ahead_s = 60
        collected.has_room.set()
        await watched(api, collected, names)
        api.add("late")
        await watched(api, collected, [*names, "late"])

    assert collected.dropped == {}


async def test_events_that_were_too_old_when_they_came_are_counted_unless_they_were_there_before(
    api: EventsStandIn, tmp_path: Path
) -> None:
    api.events["before"] = event_of("before", 7200, resourceVersion="90")
    async with running(api, tmp_path) as collected:
        await watched(api, collected, [])
        before = collected.dropped
        api.add("old", **{key: event_of("old", 7200)[key] for key in ("firstTimestamp", "lastTimestamp")})
        api.add("new")
        await watched(api, collected, ["new"])

    assert (before, collected.dropped) == ({}, {"too_old": 1})


async def test_without_a_token_requests_carry_none(api: EventsStandIn, tmp_path: Path) -> None:
    api.token = ""
    api.add("a")
    async with running(api, tmp_path, "Kube_Token_File ") as collected:
        await watched(api, collected, ["a"])

    assert not [request for request in api.got if "authorization" in request.headers]


async def test_what_a_server_without_time_for_it_told_is_not_lost(api: EventsStandIn, tmp_path: Path) -> None:
    async with running(api, tmp_path) as collected:
        await watched(api, collected, [])
        collected.has_room.clear()
        for number in range(300):
            api.add(f"e{number:03}", message="x" * 5000)
        await asyncio.sleep(0.05)
        collected.has_room.set()

        await watched(api, collected, [f"e{number:03}" for number in range(300)])


async def test_only_delivered_events_are_in_the_database(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    more = f"DB {tmp_path}/events.db"
    async with running(api, tmp_path, more) as first:
        first.settles = False
        await watched(api, first, ["a"])
        first.settles = True
        api.add("b")
        await watched(api, first, ["a", "b"])
    api.cut()
    async with running(api, tmp_path, more) as second:
        await until(lambda: second.names == ["a"])


async def test_an_event_that_is_owed_is_not_emitted_again_by_the_same_process(
    api: EventsStandIn, tmp_path: Path
) -> None:
    api.add("a")
    async with running(api, tmp_path, f"DB {tmp_path}/events.db") as collected:
        collected.settles = False
        await watched(api, collected, ["a"])
        api.forget()
        api.version += 1
        api.forget()
        api.end_watches()
        await until(lambda: api.targets.count("/api/v1/events") == 2 and api.watches == 1)

        assert collected.names == ["a"]


@pytest.mark.parametrize("more", ["", "Kube_Request_Limit 2", "Kube_Updates off", LEADING])
async def test_at_a_reload_what_was_delivered_comes_no_more_and_the_rest_does(
    api: EventsStandIn, tmp_path: Path, more: str
) -> None:
    api.add("a")
    async with running(api, tmp_path, more) as one:
        await watched(api, one, ["a"])
        one.settles = False
        for name in ("b", "c"):
            api.add(name)
            await until(lambda name=name: one.names[-1] == name)  # type: ignore[misc]
        one.owed[1].receipt.settle()
    api.add("d")
    async with running(api, tmp_path, more, before=one) as two:
        await watched(api, two, ["b", "d"])
    # One to which nothing new came hands on what was handed to it.
    async with running(api, tmp_path, more, before=two) as three:
        await watched(api, three, [])
        api.add("e")
        await watched(api, three, ["e"])


async def test_at_a_reload_an_input_of_other_events_begins_as_ever(api: EventsStandIn, tmp_path: Path) -> None:
    """What was reached of one namespace says nothing of the events of others."""
    api.add("a")
    async with running(api, tmp_path, "Kube_Namespace default") as one:
        await watched(api, one, ["a"])
    async with running(api, tmp_path, before=one) as two:
        await watched(api, two, ["a"])


async def test_a_server_that_wants_tls_gets_tls(api: EventsStandIn, tmp_path: Path) -> None:
    api.add("a")
    said = b"Client sent an HTTP request to an HTTPS server.\n"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The port of the stand-in for those who speak plainly."""
        first = await reader.read(1)
        if first == b"\x16":
            await forward(first, reader, writer, api.port)
        else:
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n" + said)
            writer.close()

    both = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{both.sockets[0].getsockname()[1]}"
    async with running(api, tmp_path, f"Kube_URL {url}") as collected:
        await watched(api, collected, ["a"])
    both.close()
    await both.wait_closed()


async def forward(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Everything that comes goes to the other port, and back."""
    to, out = await asyncio.open_connection("127.0.0.1", port)
    out.write(first)

    async def pump(source: asyncio.StreamReader, target: Any) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
        except ConnectionError:
            pass  # one end has gone
        target.close()

    await asyncio.gather(pump(reader, out), pump(to, writer))


def certificate_of_somebody_else(folder: Path) -> Path:
    found = folder / "other.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=other", "-keyout", folder / "other.key", "-out", found),
        ],
        check=True,
        capture_output=True,
    )
    return found
