"""Silos that share a key, and the server between them: who gets it, what is refused, and what cannot be noticed."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tacit import errors
from tacit.aggregation.secure.identity import Authority
from tacit.aggregation.shared_key.cipher import Keyring
from tacit.aggregation.shared_key.messages import Answer, Joined, Question, Report, roster_of
from tacit.aggregation.shared_key.parameters import DEGREE
from tacit.aggregation.shared_key.rehearsal import Rehearsal, traffic
from tacit.aggregation.shared_key.server import Server
from tacit.aggregation.shared_key.settings import Policy, Settings
from tacit.aggregation.shared_key.silo import Silo

SMALL = Settings(run=b"r" * 16, length=6, bits=32, minimum=3, clients=4, layout=b"l" * 32)
NAMES = ["a", "b", "c", "d"]
VECTORS = {name: np.arange(6) * (k + 1) - 7 for k, name in enumerate(NAMES)}


def seeded(seed: int):
    """Random bytes that are the same every time."""
    return random.Random(seed).randbytes


class Play:
    """Silos and a server, up to where everybody has the key, with every message kept."""

    def __init__(self, settings: Settings = SMALL, names: list[str] = NAMES) -> None:
        self.settings, self.names = settings, names
        self.authority = Authority(seeded(0))
        self.policy = Policy(minimum=3, authorities=(self.authority.key,))
        self.silos = {name: self.silo(name, seed) for seed, name in enumerate(names, 1)}
        self.server = Server(settings, self.policy.authorities)
        self.joined = {name: silo.join() for name, silo in self.silos.items()}
        for name, data in self.joined.items():
            self.server.take_joined(name, data)
        self.roster = self.server.close_joined()
        made = [silo.meet(self.roster) for silo in self.silos.values()]
        self.boxes = self.server.boxes(names[0], made[0])

    def silo(self, name: str, seed: int, settings: Settings | None = None) -> Silo:
        identity = self.authority.identity(name, seeded(100 + seed))
        return Silo(settings or self.settings, identity, self.policy, seeded(seed))

    def keyed(self) -> Play:
        for name, box in self.boxes.items():
            self.silos[name].unwrap(box)
        return self

    def asked(self, names: list[str] = NAMES, round: int = 0) -> bytes:
        self.server.begin(round)
        for name in names:
            self.server.take_report(name, self.silos[name].encrypt(round, VECTORS[name]))
        return self.server.question()


@pytest.fixture(scope="module")
def keyed() -> Play:
    return Play().keyed()


def test_silos_share_a_key_through_a_server_that_does_not_see_it(keyed: Play) -> None:
    question = keyed.asked(round=1)
    total = sum(VECTORS.values())
    for name in NAMES:
        answer = keyed.silos[name].decrypt(question)
        assert np.array_equal(keyed.server.take_answer(name, answer), total)
    secrets = Keyring.made(SMALL.parameters).secrets()
    assert all(len(box) > 0.9 * len(secrets[0]) for box in keyed.boxes.values())  # compressed, so sizes vary a little
    assert len(set(keyed.boxes.values())) == 3


def test_a_box_opens_for_its_holder_alone_and_unchanged() -> None:
    play = Play()
    changed = bytearray(play.boxes["b"])
    changed[-1] ^= 1
    for bad in (bytes(changed), play.boxes["c"]):
        with pytest.raises(errors.ShareDecryptError, match="does not open"):
            play.silos["b"].unwrap(bad)
    play.silos["b"].unwrap(play.boxes["b"])
    with pytest.raises(errors.DuplicateConflict):
        play.silos["b"].unwrap(play.boxes["b"])
    with pytest.raises(errors.StaleMessage):
        play.silos["c"].unwrap(Play(replace(SMALL, run=b"s" * 16)).boxes["c"])


def test_silos_that_were_told_of_different_rosters_share_no_key() -> None:
    play = Play()
    silo = play.silo("d", 4)
    silo.join()
    silo.meet(roster_of([play.joined[name] for name in ("a", "c", "d")]))
    with pytest.raises(errors.StaleMessage):
        silo.unwrap(play.boxes["d"])


@pytest.mark.parametrize(
    "attack", ["forged", "exchanged", "unknown", "twice", "unsorted", "other run", "low order", "short"]
)
def test_a_roster_that_is_not_of_known_silos_is_refused(attack: str) -> None:
    play = Play()
    entries, one = dict(play.joined), Joined.decode(play.joined["b"])
    kind: type[Exception] = errors.IdentityError
    if attack == "forged":
        entries["b"] = replace(Joined.decode(play.joined["c"]), name="b").encode()
    elif attack == "exchanged":
        entries["b"] = replace(one, key=bytes(31) + b"\x09").encode()
    elif attack == "unknown":
        other = Authority(seeded(9))
        entries["b"] = replace(one, certificate=other.certify("b", one.identity)).encode()
    elif attack == "twice":
        entries["b"] = entries["c"]
    elif attack == "unsorted":
        entries = dict(sorted(entries.items(), reverse=True))
    elif attack == "other run":
        entries["b"], kind = play.silo("b", 2, replace(SMALL, run=b"s" * 16)).join(), errors.StaleMessage
    elif attack == "low order":
        identity = play.authority.identity("b", seeded(102))
        weak = replace(one, key=bytes(32))
        entries["b"] = replace(weak, signature=identity.sign(weak.signed)).encode()
    else:
        entries, kind = {name: entries[name] for name in ("a", "d")}, errors.UnmaskPolicyError
    silo = play.silo("d", 4)
    silo.join()
    with pytest.raises(kind):
        silo.meet(roster_of(list(entries.values())))


def test_the_server_refuses_keys_and_reports_that_are_not_their_senders(keyed: Play) -> None:
    server = Server(SMALL, keyed.policy.authorities)
    with pytest.raises(errors.IdentityError, match="sent the key of"):
        server.take_joined("a", keyed.joined["b"])
    server.take_joined("a", keyed.joined["a"])
    with pytest.raises(errors.DuplicateConflict):
        server.take_joined("a", keyed.silo("a", 77).join())
    with pytest.raises(errors.InsufficientSurvivors):
        server.close_joined()
    keyed.server.begin(5)
    report = keyed.silos["a"].encrypt(5, VECTORS["a"])
    for name, data, kind in (
        ("b", report, errors.IdentityError),
        ("z", report, errors.IdentityError),
        ("a", keyed.silos["a"].encrypt(6, VECTORS["a"]), errors.StaleMessage),
        ("a", report[:-1] + bytes([report[-1] ^ 1]), errors.IdentityError),
    ):
        with pytest.raises(kind):
            keyed.server.take_report(name, data)
    keyed.server.take_report("a", report)
    with pytest.raises(errors.DuplicateConflict):
        keyed.server.take_report("a", report)
    with pytest.raises(errors.InsufficientSurvivors, match="1 silos were left, 3 are needed"):
        keyed.server.question()


def test_only_the_first_silo_seals_the_key(keyed: Play) -> None:
    for name, boxes in (("b", keyed.boxes), ("a", {"b": b""})):
        with pytest.raises(errors.IdentityError):
            keyed.server.boxes(name, boxes)


def test_a_silo_decrypts_one_sum_of_enough_silos_in_a_round(keyed: Play) -> None:
    good, silo = keyed.asked(round=2), keyed.silos["c"]
    found = Question.decode(good, 4, 1, SMALL.parameters.ciphertext_bytes)
    for members in ((0, 1), ()):
        with pytest.raises(errors.UnmaskPolicyError, match="from 3 to 4 are decrypted"):
            silo.decrypt(replace(found, members=members).encode())
    assert silo.decrypt(good) == silo.decrypt(good)
    with pytest.raises(errors.DuplicateConflict, match="round 3 was decrypted before"):
        silo.decrypt(keyed.asked(NAMES[:3], round=2))
    with pytest.raises(errors.StaleMessage):
        silo.decrypt(replace(found, session=bytes(32)).encode())


def test_a_silo_cannot_tell_a_report_that_is_said_to_be_a_sum(keyed: Play) -> None:
    report = Report.decode(keyed.silos["a"].encrypt(7, VECTORS["a"]), 1, SMALL.parameters.ciphertext_bytes)
    said = Question(report.session, 7, (0, 1, 2), 4, report.ciphertexts).encode()
    found = Answer.decode(keyed.silos["b"].decrypt(said), 6, 32)
    assert np.array_equal(found.words, VECTORS["a"])  # the trust that the class says it takes


def test_a_silo_demands_enough_silos_and_an_authority(keyed: Play) -> None:
    identity = keyed.authority.identity("e", seeded(5))
    for policy in (Policy(4, keyed.policy.authorities), Policy(3, ())):
        with pytest.raises(errors.PolicyError):
            Silo(SMALL, identity, policy)
    with pytest.raises(errors.PolicyError, match="of two"):
        Silo(replace(SMALL, minimum=2), identity, keyed.policy)


def test_a_vector_of_another_length_or_kind_is_refused(keyed: Play) -> None:
    for vector in (np.arange(5), np.zeros(6)):
        with pytest.raises(errors.OutOfRange, match="give 6 whole numbers"):
            keyed.silos["a"].encrypt(0, vector)
    with pytest.raises(errors.StaleMessage, match="no key"):
        silo = keyed.silo("d", 4)
        silo.join()
        silo.meet(keyed.roster)
        silo.encrypt(0, np.arange(6))


def damaged(data: bytes, chance: random.Random) -> bytes:
    kind, at = chance.randrange(4), chance.randrange(min(len(data), 300))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + bytes(chance.randrange(1, 9))
    changed = bytearray(data)
    changed[at if kind == 2 else chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_damaged_messages_end_in_an_error_of_their_own(keyed: Play) -> None:
    chance, question = random.Random(0), keyed.asked(round=8)
    answer, report = keyed.silos["a"].decrypt(question), keyed.silos["d"].encrypt(9, VECTORS["d"])
    keyed.server.begin(9)
    fresh = Play()
    targets = [
        (keyed.joined["b"], lambda data: Server(SMALL, keyed.policy.authorities).take_joined("b", data)),
        (fresh.boxes["b"], fresh.silos["b"].unwrap),
        (report, lambda data: keyed.server.take_report("d", data)),
        (answer, lambda data: keyed.server.take_answer("a", data)),
    ]
    for data, reader in targets:
        for _ in range(40):
            with pytest.raises(errors.SecureAggregationError):
                reader(damaged(data, chance))


def test_a_damaged_question_is_malformed_or_another_and_does_not_use_up_the_round(keyed: Play) -> None:
    chance, question = random.Random(1), keyed.asked(round=10)
    found = Question.decode(question, 4, 1, SMALL.parameters.ciphertext_bytes)
    malformed = 0
    for _ in range(200):
        changed = found.ciphertexts[0]
        at = chance.randrange(len(changed) if chance.random() < 0.5 else 200)
        changed = changed[:at] + bytes([chance.randrange(256)]) + changed[at + 1 :]
        bad = replace(found, round=chance.randrange(10**9), ciphertexts=(changed,)).encode()
        try:
            keyed.silos["b"].decrypt(bad)
        except errors.MalformedMessage:
            malformed += 1
        except errors.BitBudgetError:
            pass  # a ciphertext can be exchanged for another: what it holds is then no sum that fits its word
    assert malformed > 100
    bad = replace(found, ciphertexts=(found.ciphertexts[0][:-9],)).encode()
    with pytest.raises(errors.MalformedMessage):
        keyed.silos["c"].decrypt(bad)
    assert np.array_equal(keyed.server.take_answer("c", keyed.silos["c"].decrypt(question)), sum(VECTORS.values()))


def test_sizes_that_a_run_tells_are_those_of_its_messages() -> None:
    names = [f"{k:010d}" for k in range(5)]
    settings = replace(SMALL, length=DEGREE + 100, clients=5)
    play, told = Rehearsal(settings, names), traffic(settings, 5, names[0])
    play.server.begin(0)
    for name in names:
        play.report(name, 0, np.random.default_rng(0).integers(-99, 99, settings.length))
    play.finish(names)
    each = {name: total / 5 for name, total in (play.up | play.down).items()}
    assert told["bytes_once"]["joined"] == each["joined"] and told["bytes_once"]["roster"] == each["roster"]
    assert told["bytes_decrypting"]["answer"] == play.up["answer"]
    assert told["bytes_up"]["report"] == pytest.approx(each["report"], rel=0.01)
    assert told["bytes_decrypting"]["question"] == pytest.approx(play.down["question"], rel=0.01)
    assert told["bytes_once"]["boxes"] == pytest.approx(play.up["boxes"], rel=0.01)
    assert told["bytes_once"]["box"] * 4 == pytest.approx(play.down["box"], rel=0.01)


def test_an_answer_that_its_silo_did_not_sign_is_refused(keyed: Play) -> None:
    answer = keyed.silos["a"].decrypt(keyed.asked(round=11))
    with pytest.raises(errors.IdentityError, match="not signed"):
        keyed.server.take_answer("b", answer)
    with pytest.raises(errors.IdentityError, match="not signed"):
        keyed.server.take_answer("a", answer[:-1] + bytes([answer[-1] ^ 1]))


def test_nobody_is_in_the_roster_twice_under_two_names() -> None:
    play = Play()
    one = Joined.decode(play.joined["b"])
    twin = replace(one, name="bb", certificate=play.authority.certify("bb", one.identity))
    twin = replace(twin, signature=play.authority.identity("bb", seeded(102)).sign(twin.signed))
    silo = play.silo("d", 4)
    silo.join()
    with pytest.raises(errors.IdentityError, match="somebody is there twice"):
        silo.meet(roster_of([play.joined["a"], play.joined["b"], twin.encode(), play.joined["d"]]))


def test_no_message_is_read_beyond_what_it_may_weigh(keyed: Play) -> None:
    most = SMALL.parameters.ciphertext_bytes
    heavy = Report(keyed.server.roster.session, 12, (bytes(most + 1),)).encode()
    keyed.server.begin(12)
    with pytest.raises(errors.MalformedMessage, match=f"{most} at most are read"):
        keyed.server.take_report("a", heavy)
    few = Silo(SMALL, keyed.authority.identity("d", seeded(104)), replace(keyed.policy, most=3), seeded(4))
    few.join()
    with pytest.raises(errors.MalformedMessage, match="has 4 silos: 3 at most"):
        few.meet(keyed.roster)
