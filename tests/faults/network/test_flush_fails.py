"""Row 16: flushes that fail, disks that die or turn read-only: who cannot keep its word stops, and says why."""

from __future__ import annotations

import random
import time

import pytest
import torch

from tacit.errors import StorageError
from tacit.network import operator_box
from tacit.network.consent.log import Log
from tacit.network.identity.key import new_key
from tacit.network.office import Code, Refused
from tacit.privacy.ledger import Ledger
from tests.faults.network import actors, disks
from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until
from tests.faults.network.test_every_write import box_is_empty, comes, uses
from tests.faults.network.test_noise_once import entries

pytestmark = pytest.mark.timeout(120)
NOISED = {"name": "UserLevel", "noise_multiplier": 0.5, "clip": 1.0, "delta": 0.01, "insecure_seed": 5}


def coordinate(spec, port, name, wish, **options):
    """A coordinator of which the flush of a file fails, when it is wished for."""
    (disks.flush_fails if name is None else lambda place: disks.sqlite_flush_fails(name, place))(wish)
    actors.coordinate(spec, port, **options)


def join(spec, k, name, wish, **options):
    """A participant of which the flush of a file fails, when it is wished for."""
    (disks.flush_fails if name is None else lambda place: disks.sqlite_flush_fails(name, place))(wish)
    actors.join(spec, k, **options)


def alike(story, run, alone):
    checked(story, run)
    assert {name for name in alone.tensors if not torch.equal(run.tensors[name], alone.tensors[name])} == set()
    assert all(story.ended(k).startswith("finished") for k in range(4)), story.said()


def counted(story, k=1):
    return story.log(k).count('"counted"')


def stopped(story):
    """Why a coordinator has ended by itself, as it says."""
    assert story.coordinator.ended() == StorageError.exit_code, story.said()
    said = (story.folder / "refused").read_text()
    assert said.startswith(("StorageError: ", "DamagedFile: ")), said  # a disk that is gone may look like either
    return said


def flawed(story, name, wish):
    """A scene of which the coordinator's flushes of a file fail when that is wished for."""
    story.coordinator = story._actor(coordinate, story.spec, story.port, name, wish)
    return story


PRIVATE = {"privacy": {"name": "UserLevel", "epsilon": 500.0, "clip": 1.0, "delta": 0.01}}
JOURNAL, LEDGER, OTHERS = "run/journal.sqlite-wal", "ledger.sqlite-wal", None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param(JOURNAL, "run/journal.sqlite cannot be read or written", id="journal"),
        pytest.param(OTHERS, "cannot be written", marks=pytest.mark.slow, id="models and checkpoints"),
    ],
)
def test_a_coordinator_whose_flush_has_failed_once_goes_no_further_until_it_is_started_anew(name, told, tmp_path):
    """The flush after it would succeed, and say nothing of what was lost; so nobody is told anything any more."""
    with scene(tmp_path, rounds=6) as story:
        alone, wish = story.simulated(), tmp_path / "wish"
        flawed(story, name, wish).up()
        story.crowd()
        until(lambda: counted(story), story.said)
        wish.touch()
        assert told in stopped(story)
        assert not wish.exists()
        alike(story, story.up().finished(), alone)


@pytest.mark.slow
def test_a_sum_whose_charge_was_not_flushed_is_not_made(tmp_path):
    """Of every round that is published the charge is on disk; the one that failed counts, or it does not."""
    with scene(tmp_path, rounds=6, **PRIVATE) as story:
        wish = tmp_path / "wish"
        flawed(story, LEDGER, wish).up()
        story.crowd()
        until(lambda: counted(story), story.said)
        wish.touch()
        assert "ledger.sqlite" in stopped(story)
        run = story.up().finished()
        checked(story, run)
        kinds = [(entry.round, entry.kind) for entry in entries(story.folder)]
        for number in range(6):
            mine = [kind for round, kind in kinds if round == number and kind != "begin"]
            assert mine[0] == "reserve"
            assert mine.count("commit") == 1


def test_before_the_run_a_coordinator_whose_flush_has_failed_stops_too_and_who_enrols_is_told_why(tmp_path):
    """Nothing would ever be written again, and no round is there to notice."""
    with scene(tmp_path) as story:
        wish, key = tmp_path / "wish", new_key(tmp_path / "one")
        flawed(story, JOURNAL, wish).up()
        token = operator_box.invite(story.run).token
        until(lambda: box_is_empty(story), story.said)
        wish.touch()
        with pytest.raises(Refused, match=r"cannot be read or written \(disk I/O error\)") as refused:
            comes(story, key, token, patience=0.0)
        assert refused.value.code is Code.BUSY
        assert "run/journal.sqlite cannot be read or written" in stopped(story)
        story.up()
        assert comes(story, key, token) == comes(story, key, token)
        assert uses(story, token) == [0]


class Kept:
    """A participant that is started anew whenever it stops because it cannot write, as a machine's own keeper does."""

    def __init__(self, story, name, wish):
        self.story, self.wish, self.failed = story, wish, 0
        self._party = story._actor(join, story.spec, 0, name, wish).start()

    def up(self):
        """Looks after it. Always true."""
        if self.story.ended(0).startswith("error"):
            assert self.story.ended(0).startswith("error: StorageError"), self.story.ended(0)
            assert self._party.ended() == 0
            (self.story.folder / f"{self.story.names[0]}.ended").unlink()
            self._party.start()
        return True

    def fails(self, after):
        """Lets a flush fail so many seconds later, unless the run is over by then."""
        time.sleep(after)
        self.wish.touch()
        until(lambda: self.up() and (not self.wish.exists() or self.over), self.story.said)
        self.failed += not self.wish.exists()
        self.wish.unlink(missing_ok=True)

    @property
    def over(self):
        return not self.story.coordinator.alive

    def finished(self):
        """The run, through which it was kept up."""
        until(lambda: self.up() and self.over and self.story.ended(0).startswith("finished"), self.story.said)
        assert self.failed, "no flush has failed"
        return self.story.finished()


def disturbed(story, name, seed):
    """A run of which one participant's flushes fail at moments that are drawn from a seed."""
    draw = random.Random(seed)
    story.up()
    story.crowd([1, 2, 3])
    party = Kept(story, name, story.folder / "wish")
    until(lambda: counted(story, 0), story.said)
    for _ in range(3):
        party.fails(draw.uniform(0.0, 0.2))
    return party.finished()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_participant_whose_log_or_memory_cannot_be_flushed_loses_nothing_of_them(seed, tmp_path):
    """Under SCAFFOLD what it remembers between rounds is in the model; its log stays whole."""
    with scene(tmp_path, rounds=10, algorithm={"name": "Scaffold"}, network={"attempts": 20}) as story:
        alone = story.simulated()
        alike(story, disturbed(story, OTHERS, seed), alone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_participant_sends_no_report_whose_charge_was_not_flushed(seed, tmp_path):
    """Its own ledger: the round fails for it, and is tried again."""
    level = {"name": "RecordLevel", "epsilon": 50.0, "clip": 1.0}
    with scene(tmp_path, rounds=10, record_privacy=level, network={"attempts": 20}) as story:
        checked(story, disturbed(story, "client-00/ledger.sqlite-wal", seed))
        place = tmp_path / "parties" / story.names[0]
        sent = {(e.facts["round"], e.facts["attempt"]) for e in Log(place / "log.jsonl").entries() if e.event == "sent"}
        with Ledger(place / "ledger.sqlite") as ledger:
            charged = {(entry.round, entry.note) for account in ledger.accounts() for entry in account.entries()}
        assert len(sent) >= 10
        assert {(round, f"attempt {attempt}") for round, attempt in sent} <= charged


@pytest.fixture
def over(tmp_path):
    """Puts a disk of its own over a folder."""
    made = []

    def put(folder):
        try:
            made.append(disks.Disk(tmp_path / "disk.image", folder))
        except OSError as error:
            pytest.skip(f"only root can mount an ext4 disk over a folder, with a loop device: {error}")
        return made[-1]

    yield put
    for disk in made:
        disk.close()


def between_calls(actor, act):
    """Does something to the disk of a process while it flushes nothing.

    A flush that is under way when an ext4 shuts down may say that all is well. When the power goes nobody is there to
    be told that.
    """
    actor.pause()
    act()
    actor.go_on()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("how", ["dies", "read_only"])
def test_a_coordinator_whose_disk_fails_under_it_stops_and_goes_on_when_there_is_one_again(how, seed, over, tmp_path):
    """A real file system: what was not flushed when it died is gone; nothing that was acknowledged is part of it."""
    with scene(tmp_path / "scene", rounds=8, algorithm={"name": "Scaffold"}) as story:
        alone, disk = story.simulated(), over(story.run)
        story.up()
        story.crowd()
        until(lambda: counted(story), story.said)
        time.sleep(random.Random(seed).uniform(0.0, 0.5))
        between_calls(story.coordinator, getattr(disk, how))
        assert story.run.name in stopped(story)
        disk.renewed()
        alike(story, story.up().finished(), alone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("how", ["dies", "read_only"])
def test_a_participant_whose_disk_fails_under_it_goes_on_when_there_is_one_again(how, seed, over, tmp_path):
    with scene(tmp_path / "scene", rounds=8, algorithm={"name": "Scaffold"}, network={"attempts": 20}) as story:
        alone, disk = story.simulated(), over(story.folder / "parties" / story.names[0])
        story.up()
        story.crowd([1, 2, 3])
        party = story.parties[0].start()
        until(lambda: counted(story, 0), story.said)
        time.sleep(random.Random(seed).uniform(0.0, 0.5))
        between_calls(party, getattr(disk, how))
        until(lambda: not party.alive or "Tried again" in story.said(), story.said)
        if party.alive:  # it sends nothing, and waits for its log
            party.kill()
        else:
            assert story.ended(0).startswith("error: StorageError"), story.ended(0)
        disk.renewed()
        party.start()
        alike(story, story.finished(), alone)
