"""Who else can write to the store decides nothing about what is sent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.errors import OptionError
from shipper.log import Log
from shipper.outputs.s3.output import S3Output
from shipper.outputs.s3.ownership import NotOurs
from shipper.outputs.s3.spool import Sheet, Spool, new_name
from shipper.outputs.s3.store import QUARANTINE, Store
from shipper.testing import context_of
from tests.components.rights import another_user, open_folder

from .making import options_of

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to own what is somebody else's")


def store_in(root: Path) -> Store:
    return Store(root, "bucket", "s3.0", "destination", SystemDisk(), Log(""))


def plant(folder: Path) -> None:
    """What makes the next process send an object under a name of somebody's choice."""
    folder.mkdir(parents=True, exist_ok=True)
    spool = Spool(folder, new_name(1), Sheet(key="any/other", tag="t", first_ns=0, state="closed"), SystemDisk())
    spool.save()


def give_away(*places: Path) -> None:
    for place in places:
        os.lchown(place, NOBODY, NOBODY)


def test_folders_are_made_for_us_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s3")
    store.open()
    store.close()

    made = [path for path in (tmp_path, *tmp_path.rglob("*")) if path.is_dir()][1:]
    assert len(made) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


@as_root
@pytest.mark.parametrize("given", ["bucket", "own", "quarantine", "file"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, given: str) -> None:
    store = store_in(tmp_path)
    plant(store.folder)
    (store.folder / QUARANTINE).mkdir()
    sheet = next(store.folder.glob("*.json"))
    place = {"bucket": store.folder.parent, "own": store.folder, "quarantine": store.folder / QUARANTINE, "file": sheet}
    give_away(place[given])

    with pytest.raises(NotOurs) as caught:
        store.open()
    store.close()

    assert f"{place[given]} belongs to user {NOBODY}" in str(caught.value)
    assert f"chown -R 0 {place[given]}" in str(caught.value)


@as_root
def test_a_folder_that_anybody_could_have_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "tmp" / "fluent-bit").mkdir()
    give_away(tmp_path / "tmp" / "fluent-bit")

    with pytest.raises(NotOurs, match="fluent-bit belongs to user"):
        store_in(tmp_path / "tmp" / "fluent-bit" / "s3").open()


@as_root
def test_a_link_that_anybody_could_have_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tmp" / "s3").symlink_to(tmp_path / "elsewhere")
    give_away(tmp_path / "tmp" / "s3")

    with pytest.raises(NotOurs, match="s3 belongs to user"):
        store_in(tmp_path / "tmp" / "s3").open()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@as_root
def test_a_folder_of_another_user_that_only_they_could_give_us_is_taken(tmp_path: Path) -> None:
    """A volume may belong to anybody; what counts is what is below it."""
    (tmp_path / "volume").mkdir()
    give_away(tmp_path / "volume")
    store = store_in(tmp_path / "volume")

    assert store.open() == []
    store.close()


@as_root
def test_who_is_not_root_goes_on_with_what_root_has_made_and_on_a_volume_that_is_open_to_all() -> None:
    with open_folder() as root:
        root.chmod(0o777)
        store = store_in(root)
        with another_user():
            store.open()
            store.close()
            plant(store.folder)
        os.chown(store.folder.parent, 0, NOBODY)
        store.folder.parent.chmod(0o775)
        os.chown(next(store.folder.glob("*.json")), 0, NOBODY)
        next(store.folder.glob("*.json")).chmod(0o644)
        with another_user():
            left = store.open()
            store.close()

    assert [spool.sheet.key for spool in left] == ["any/other"]


def test_a_folder_of_ours_is_open_to_nobody_else_any_more(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    plant(store.folder)
    store.folder.chmod(0o777)

    assert len(store.open()) == 1
    store.close()
    assert not store.folder.stat().st_mode & stat.S_IWOTH


@as_root
def test_a_folder_that_is_open_to_all_and_stays_so_is_refused() -> None:
    with open_folder() as root:
        store = store_in(root)
        plant(store.folder)
        for place in (store.folder.parent, store.folder):
            place.chmod(0o777)
        with another_user(), pytest.raises(NotOurs, match=r"anybody may write to .*chmod o-w"):
            store.open()


@as_root
def test_what_others_have_left_for_the_same_destination_is_not_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    store.open()
    theirs = store.folder.with_name(f"other{store.folder.name.removeprefix('s3_0')}")
    plant(theirs)
    give_away(theirs)

    assert store.take_over() == []
    store.close()
    assert "what is left in a folder of the store is not sent" in caplog.text


@as_root
async def test_the_start_ends_with_the_owner_and_what_helps(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    give_away(tmp_path / "b")
    output = S3Output(options_of("http://127.0.0.1:1", tmp_path), context_of("output", "s3.0"))

    with pytest.raises(OptionError, match=f"cannot be used: {tmp_path}/b belongs to user {NOBODY}"):
        await output.open()
    await output.close()
