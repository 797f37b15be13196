"""Users' rows B1 to B8: every record is in one object of the bucket, whatever happens on the way there.

B3, uploads that hang, is in `test_monitoring`, and what happens below a delivery in `tests/outputs/s3`.
"""

from __future__ import annotations

import collections
import random
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.outputs.s3.server import Fault, SmallS3, s3

from .cloudwatch import CREDENTIALS
from .storing import Station
from .test_monitoring import QUICK, Api

__all__ = ["s3"]

PARSER = """
[PARSER]
    name stamped
    format regex
    regex ^(?<time>[^ ]+) (?<log>.*)$
    time_key time
    time_format %Y-%m-%dT%H:%M:%S.%L
"""
WINDOW = "total_file_size 50M; upload_timeout 10m"
QUICKLY = "total_file_size 1M; upload_timeout 1s"
LARGE = 8000
"""Bytes that are added to a line where parts are to become full."""

STORAGES = pytest.mark.parametrize("storage", ["memory", "filesystem"])


class Site(Station):
    """A shipper that follows logs into a small S3. Its lines carry their time, as container logs do, and an id."""

    def __init__(
        self, folder: Path, s3: SmallS3, output: str, *, storage: str = "memory", service: str = "", key: str = ""
    ) -> None:
        fixed = f"name s3; alias bucket; match *; bucket b; endpoint {s3.url}; store_dir {folder}/store"
        options = [line.strip() for line in f"{fixed}; {output}; {key}".split(";") if line.strip()]
        (folder / "parsers.conf").write_text(PARSER)
        super().__init__(
            folder,
            (),
            service=f"parsers_file {folder}/parsers.conf; grace 20; {service}",
            tail=f"storage.type {storage}; parser stamped",
            sections="\n".join(["[OUTPUT]", *(f"    {line}" for line in options), ""]),
            variables=CREDENTIALS,
        )
        self.s3 = s3
        self.ids: list[str] = []
        self.at_risk: set[str] = set()
        """Ids of lines that a kill may have caught between their storing and the noting of their position."""
        self._in_order = 0
        self._numbers = collections.Counter[str]()

    def write(self, count: int, name: str = "app", pad: int = 40, at: float = 1_795_000_000.0) -> None:
        """Append so many lines to a log; their times are a millisecond apart, from `at` on."""
        lines = []
        for number in range(self._numbers[name], self._numbers[name] + count):
            stamp = datetime.fromtimestamp(at + number / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            lines.append(f"{stamp} id={name}:{number} {'x' * pad}\n")
            self.ids.append(f"{name}:{number}")
        self._numbers[name] += count
        with (self.folder / "var" / f"{name}.log").open("a") as log:
            log.write("".join(lines))

    def in_bucket(self) -> collections.Counter[str]:
        """How often each id is in an object."""
        return collections.Counter(re.findall(r'id=([^ "]+) ', "\n".join(self.s3.lines())))

    def until_in_bucket(self, count: int | None = None) -> None:
        """Wait for so many different ids, by default for all that were written."""
        self.until(lambda: len(self.in_bucket()) >= (len(self.ids) if count is None else count))

    def stop_when_all_is_there(self) -> None:
        """End it, and start and end it again as long as it had not come to the end of the logs."""
        for _ in range(20):
            time.sleep(1.0)
            self.stop()
            if len(self.in_bucket()) >= len(self.ids):
                return
            self.start()

    def audit(self, may_be_twice: set[str] | frozenset[str] = frozenset()) -> None:
        """Every id is in one object, those of `may_be_twice` in one at least, and no upload is open."""
        found = self.in_bucket()
        missing = sorted(set(self.ids) - set(found))
        twice = sorted(one for one, count in found.items() if count > 1 and one not in may_be_twice)
        assert (missing, twice, self.s3.uploads) == ([], [], {}), self.shipper.end_of_log()

    def sheets(self) -> dict[str, Path]:
        """The sheets of the objects that are not finished, by the name of their log."""
        paths = (path for path in (self.folder / "store").rglob("*.json") if path.name != "counters.json")
        tags = {msgspec.json.decode(path.read_bytes())["tag"]: path for path in paths}
        return {tag.split(".")[-2]: path for tag, path in tags.items()}

    def spooled_lines(self) -> int:
        """Lines in the store, finished or not."""
        return sum(path.read_bytes().count(b"\n") for path in (self.folder / "store").rglob("*.data"))

    def end_at_random(self, rng: random.Random) -> None:
        """SIGTERM, after which the ledger has to balance, or kill -9."""
        if rng.random() < 0.5:
            self.kill()
        else:
            self.stop()
            self._in_order = len(self.ids)

    def kill(self) -> None:
        """End it by kill -9; what was read and noted before the last stop in good order is at no risk."""
        self.shipper.kill()
        self.at_risk.update(self.ids[self._in_order :])


def live(site: Site, rng: random.Random, lives: int, count: int, pad: int) -> None:
    """Start, write, and end it at a random moment, again and again."""
    for _ in range(lives):
        site.start(until_watching=False)
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, 1))  # it may not have come as far as to know what a signal means
            site.kill()
            continue
        site.until(site.shipper.is_watching)
        for _ in range(rng.randrange(1, 5)):
            site.write(count, rng.choice(["one", "two"]), pad)
            time.sleep(rng.uniform(0, 0.2))
        time.sleep(rng.uniform(0, 0.4))
        site.end_at_random(rng)


# -- B1: the process ends ----------------------------------------------------------------------------------------------


@STORAGES
@pytest.mark.parametrize(("count", "pad"), [(300, 40), (400, LARGE)], ids=["put", "multipart"])
def test_b1_ended_at_any_moment_every_line_is_in_one_object(
    tmp_path: Path, s3: SmallS3, storage: str, count: int, pad: int
) -> None:
    """Scale 1 to 25: four ends, by kill -9 and by SIGTERM, in a window of ten minutes.

    What is stored in files before it is delivered is read and stored again if a kill comes between the storing and the
    noting of the position.
    """
    with Site(tmp_path, s3, WINDOW, storage=storage) as site:
        live(site, random.Random(f"{storage}{pad}"), 4, count, pad)
        site.start()
        site.stop_when_all_is_there()

        site.audit(may_be_twice=site.at_risk if storage == "filesystem" else set())
        assert site.told("may have been sent twice") is None


@pytest.mark.soak
@STORAGES
@pytest.mark.parametrize(("count", "pad"), [(300, 40), (400, LARGE)], ids=["put", "multipart"])
def test_b1_ended_a_hundred_times_every_line_is_in_one_object(
    tmp_path: Path, s3: SmallS3, storage: str, count: int, pad: int
) -> None:
    with Site(tmp_path, s3, WINDOW, storage=storage) as site:
        live(site, random.Random(1), 100, count, pad)
        site.start()
        site.stop_when_all_is_there()

        site.audit(may_be_twice=site.at_risk if storage == "filesystem" else set())


@STORAGES
def test_b1_a_kill_makes_no_new_line_look_like_an_equal_one_that_is_in_the_bucket(
    tmp_path: Path, s3: SmallS3, storage: str
) -> None:
    """The lines are of one time; at the kill the first of them are in the bucket, and their position may be saved."""
    with Site(tmp_path, s3, QUICKLY, storage=storage) as site:
        log = tmp_path / "var" / "app.log"
        for count in (100, 150):
            with log.open("a") as file:
                file.write("2026-11-20T10:00:00.000 id=same \n" * (count - site.in_bucket()["same"]))
            site.start()
            site.until(lambda count=count: site.in_bucket()["same"] >= count)  # type: ignore[misc]
            site.shipper.kill()

        assert site.in_bucket()["same"] == 150


# -- B2: files of the store are damaged --------------------------------------------------------------------------------


def empty(data: bytes) -> bytes:
    return b""


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbled(data: bytes) -> bytes:
    """Ten bytes are other ones: the first of a sheet, those of an id in data."""
    place = max(data.find(b"id=", len(data) // 2), 0)
    return data[:place] + b"#" * 10 + data[place + 10 :]


DAMAGES = (empty, cut, garbled)
QUARANTINED = {("json", empty), ("json", cut), ("json", garbled)}
"""Without a sheet nobody knows what the data are; of anything else the whole part is used."""


@pytest.mark.parametrize("state", ["open", "closed"])
@pytest.mark.parametrize("output", ["", "json_date_key false"], ids=["dated", "undated"])
def test_b2_each_damaged_file_of_the_store_costs_nothing_and_holds_up_nobody(
    tmp_path: Path, s3: SmallS3, state: str, output: str
) -> None:
    """One log for each file and kind of damage, and one whose files are whole; what is damaged is read again.

    Other files tell where lines come from and, if they have no date, by what they are recognised. What those do not
    tell any more comes twice.
    """
    suffixes = ["json", "data", "from", "ids"] if output else ["json", "data", "from"]
    damages = {f"{suffix}{damage.__name__}": (suffix, damage) for suffix in suffixes for damage in DAMAGES}
    names = [*damages, "healthy"]
    s3.fail("PutObject", *[Fault()] * (1000 if state == "closed" else 0))
    with Site(tmp_path, s3, f"{WINDOW if state == 'open' else QUICKLY}; {output}") as site:
        site.start()
        for name in names:
            site.write(100, name)
        site.until(lambda: site.spooled_lines() == 100 * len(names))
        site.until(lambda: {msgspec.json.decode(p.read_bytes())["state"] for p in site.sheets().values()} == {state})
        site.shipper.kill()
        sheets = site.sheets()
        for name, (suffix, damage) in damages.items():
            path = sheets[name].with_suffix(f".{suffix}")
            path.write_bytes(damage(path.read_bytes()))
        s3.heal()
        site.start()
        for name in names:
            site.write(1, name)
        site.stop_when_all_is_there()

        site.audit(may_be_twice=set(site.ids))
        twice = {one.partition(":")[0] for one, count in site.in_bucket().items() if count > 1}
        assert twice <= {name for name in damages if name.startswith(("ids", "from"))}
        aside = {path.name for path in (tmp_path / "store").rglob("quarantine/damaged-*.json")}
        assert aside == {f"damaged-{sheets[name].name}" for name, one in damages.items() if one in QUARANTINED}
        assert site.shipper.log().count(b"what is left of an object cannot be read and is put aside") == len(aside)


def test_b2_damaged_counters_cost_nothing(tmp_path: Path, s3: SmallS3) -> None:
    with Site(tmp_path, s3, QUICKLY, key="s3_key_format /logs/$INDEX") as site:
        for content in (b"", b"{", b"[]"):
            site.start()
            site.write(10)
            site.until_in_bucket()
            site.stop()
            (path,) = (tmp_path / "store").rglob("counters.json")
            path.write_bytes(content)
        site.start()
        site.write(10)
        site.until_in_bucket()
        site.stop()

        site.audit()
        assert len(s3.objects) == 4


# -- B4, B5: the counter -----------------------------------------------------------------------------------------------


def restart_often(site: Site, rng: random.Random, lives: int) -> None:
    """Objects become more and stay as they are; halfway the store is lost with the counters in it."""
    before: dict[str, bytes] = {}
    for life in range(lives):
        site.start()
        site.write(20)
        time.sleep(rng.uniform(0, 0.5))
        if life == lives // 2:
            site.stop()
            shutil.rmtree(site.folder / "store")
        else:
            site.end_at_random(rng)
        after = {key: stored.data for key, stored in site.s3.objects.items()}
        assert {key: after.get(key) for key in before} == before
        before = after
    site.start()
    site.stop_when_all_is_there()


KEYS = pytest.mark.parametrize(
    "key", ["s3_key_format /logs/$INDEX", "s3_key_format /logs/app; static_file_path on"], ids=["index", "fixed"]
)


@KEYS
def test_b4_no_restart_lets_an_object_be_written_over(tmp_path: Path, s3: SmallS3, key: str) -> None:
    """Scale 1 to 10: five restarts."""
    with Site(tmp_path, s3, WINDOW, key=key) as site:
        restart_often(site, random.Random(4), 5)

        site.audit()
        assert len(s3.objects) >= 3


@pytest.mark.soak
@KEYS
def test_b4_fifty_restarts_let_no_object_be_written_over(tmp_path: Path, s3: SmallS3, key: str) -> None:
    with Site(tmp_path, s3, WINDOW, key=key) as site:
        restart_often(site, random.Random(5), 50)

        site.audit()
        assert len(s3.objects) >= 20


def test_b5_the_index_goes_up_by_one_for_each_object_of_a_prefix(tmp_path: Path, s3: SmallS3) -> None:
    """Three of ten calls of each kind fail, the same one twice at most, some after they have taken effect."""
    rng, healthy, failed = random.Random(5), s3.answer, collections.Counter[str]()

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        call = f"{method} {path}"
        if failed[call] >= 2 or rng.random() >= 0.3:
            return healthy(method, path, headers, body)
        failed[call] += 1
        if rng.random() < 0.3:
            return Fault(cut=True), healthy(method, path, headers, body)
        return Fault(), None

    s3.answer = answer  # type: ignore[method-assign]
    output = "total_file_size 11M; upload_timeout 10m"
    with Site(tmp_path, s3, output, key="s3_key_format /$TAG/$INDEX") as site:
        site.start()
        for _ in range(6):
            for name in ("one", "two"):
                site.write(500, name, LARGE)
        site.until_in_bucket(4000)
        site.stop_when_all_is_there()

        site.audit()
        assert {call.partition(" ")[0] for call in failed} >= {"PUT", "POST"}
        for name in ("one", "two"):
            keys = [key for key in s3.objects if f".{name}.log/" in key]
            found = {int(key.rpartition("/")[2]): s3.objects[key].text for key in keys}
            first = [int(re.findall(rf"id={name}:(\d+) ", found[number])[0]) for number in sorted(found)]
            assert sorted(found) == list(range(len(found)))
            assert len(found) >= 2
            assert first == sorted(first)


# -- B6, B7: what is told, and where it is put -------------------------------------------------------------------------


def test_b6_the_counter_says_what_is_in_the_bucket(tmp_path: Path, s3: SmallS3) -> None:
    with Site(tmp_path, s3, QUICKLY, service=QUICK) as site:
        site.start()
        api = Api(site)
        looks = set()
        for _ in range(40):
            site.write(500)
            time.sleep(0.1)
            before = api.metric('fluentbit_output_proc_records_total{name="bucket"}')
            looks.add(before)
            assert before <= len(site.in_bucket())
        site.until_in_bucket()
        site.until(lambda: api.metric('fluentbit_output_proc_records_total{name="bucket"}') == len(site.ids))
        ledger = site.stop()

        site.audit()
        assert len(looks) >= 3
        assert ledger["bucket"]["delivered"] == len(site.ids)


def test_b7_late_records_go_where_their_time_says(tmp_path: Path, s3: SmallS3) -> None:
    begun = time.time()
    with Site(tmp_path, s3, QUICKLY, key="s3_key_format /%Y/%m/%d/%H/$UUID") as site:
        site.start()
        for hours_ago in (30, 7, 1):
            site.write(50, at=begun // 3600 * 3600 - hours_ago * 3600)
            site.until_in_bucket()
        site.stop()

        site.audit()
        assert len(s3.objects) == 3
        for key, stored in s3.objects.items():
            dates = {msgspec.json.decode(line)["date"][:13] for line in stored.text.splitlines()}
            assert dates == {"{}-{}-{}T{}".format(*key.split("/")[:4])}


# -- B8: what costs money ----------------------------------------------------------------------------------------------


def is_noted(site: Site) -> bool:
    """Whether the store knows a part that is in S3."""
    return any(b'"etag":"' in path.read_bytes().replace(b'"etag":""', b"") for path in site.sheets().values())


@pytest.mark.parametrize(
    "lost", ["nothing", "the answer with the id", "the data", "the data and the right to list", "the sheet"]
)
def test_b8_no_upload_is_left_open(tmp_path: Path, s3: SmallS3, lost: str) -> None:
    """Killed while an upload is under way, which goes on afterwards, or is aborted if it cannot."""
    if lost == "the answer with the id":
        s3.fail("CreateMultipartUpload", *[Fault(done=True, cut=True)] * 1000)
    with Site(tmp_path, s3, WINDOW) as site:
        site.start()
        site.write(800, pad=LARGE)
        site.until(lambda: bool(s3.uploads) and (lost == "the answer with the id" or is_noted(site)))
        site.shipper.kill()
        open_before = len(s3.uploads)
        s3.heal()
        if lost.startswith("the data"):
            for path in (tmp_path / "store").rglob("*.data"):
                path.unlink()
        if lost.endswith("list"):
            s3.fail("ListMultipartUploads", *[Fault(403, b"<Error><Code>AccessDenied</Code></Error>")] * 1000)
        if lost == "the sheet":
            for path in site.sheets().values():
                path.write_bytes(b"")
        site.start()
        site.write(10)
        site.stop_when_all_is_there()

        site.audit()
        assert open_before >= 1
        assert s3.uploads == {}
