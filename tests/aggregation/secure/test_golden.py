"""The published transcript: clients and the server say the same bytes today, each from what the others said then."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tacit.aggregation.secure.config import Config
from tests.aggregation.secure.golden import PATH, scene, transcript

KEPT = json.loads(PATH.read_text())
NAMES = [client["name"] for client in KEPT["clients"]]


def said(kind, whose):
    """The bytes of a message from or to a client, or none."""
    for message in KEPT["messages"]:
        if message["kind"] == kind and whose in (message.get("from"), message.get("to")):
            return bytes.fromhex(message["bytes"])
    return None


@pytest.mark.parametrize("client", KEPT["clients"], ids=NAMES)
def test_a_client_that_reads_the_server_s_messages_writes_its_own_byte_for_byte(client):
    name, player = client["name"], scene().clients[client["name"]]
    vector = np.array(client["vector"], dtype=np.int32)
    steps = [
        ("advertise", player.advertise),
        ("shares", lambda: player.share(said("roster", name))),
        ("masked", lambda: player.mask(said("inbox", name), vector)),
        ("confirm", lambda: player.confirm(said("survivors", name))),
        ("unmask", lambda: player.unmask(said("confirmed", name))),
    ]
    done = [kind for kind, say in steps if said(kind, name) is not None and say() == said(kind, name)]
    expected = {"mask": 2, "unmask": 4, None: 5}[client["lost_before"]]
    assert done == [kind for kind, _ in steps[:expected]]


def test_the_server_that_reads_the_clients_messages_writes_its_own_byte_for_byte_and_the_total():
    server = scene().server

    def take(kind):
        for name in NAMES:
            if said(kind, name) is not None:
                getattr(server, f"take_{kind}")(name, said(kind, name))

    take("advertise")
    assert server.close_advertise() == said("roster", "c000")
    assert server.members.session.hex() == KEPT["session"]
    take("shares")
    assert server.close_shares() == {name: said("inbox", name) for name in NAMES}
    take("masked")
    assert server.close_masked() == said("survivors", "c000")
    take("confirm")
    assert server.close_confirm() == {name: said("confirmed", name) for name in NAMES if said("confirmed", name)}
    take("unmask")
    assert server.close().tolist() == KEPT["total"]
    assert server.blamed == []


def test_the_total_is_the_sum_of_the_vectors_of_those_who_uploaded():
    columns = zip(*(KEPT["clients"][i]["vector"] for i in KEPT["survivors"]), strict=True)
    assert [(sum(column) + 2**31) % 2**32 - 2**31 for column in columns] == KEPT["total"]
    assert len(KEPT["survivors"]) == 4
    assert len(KEPT["answering"]) == KEPT["threshold"] == 3


def test_a_pair_of_clients_has_one_mask():
    pairs = {(one["name"], other): key for one in KEPT["clients"] for other, key in one["mask_keys"].items()}
    assert len(pairs) == 20
    assert all(pairs[other, one] == key for (one, other), key in pairs.items())
    assert len(set(pairs.values())) == 10


def test_the_settings_are_those_of_their_bytes():
    found = Config.decode(bytes.fromhex(KEPT["config"]["bytes"]))
    assert found.digest.hex() == KEPT["config"]["digest"]
    assert found.degree(len(NAMES)) == (KEPT["neighbours"], KEPT["threshold"])


def test_the_file_is_what_the_script_writes():
    assert transcript() == KEPT
