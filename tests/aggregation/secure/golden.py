"""Writes conformance/transcript.json, a small session byte by byte: `python -m tests.aggregation.secure.golden`.

Five clients in a complete graph; one is lost before it uploads, another after it confirmed. What is drawn comes from
SHA-256 and a counter, so the same session can be played by a client in any language.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tacit.aggregation.secure import keys
from tacit.aggregation.secure.client import Step
from tests.aggregation.secure.play import MODEL, Play

PATH = Path(__file__).parents[3] / "conformance" / "transcript.json"
LABEL = b"keys of "
SETTINGS = {"dropout": 0.4}
LOST = {"c001": Step.UNMASK, "c003": Step.MASK}
LOW, HIGH = -(2**31), 2**31 - 1
VECTORS = {
    "c000": [0, 1, -1, HIGH, LOW, LOW, 123456789, 7],
    "c001": [0, 2, -2, HIGH, LOW, HIGH, -987654321, 7],
    "c002": [0, 3, -3, HIGH, LOW, -1, 55555555, 7],
    "c003": [0, 4, -4, HIGH, LOW, 0, 11111111, 7],
    "c004": [0, 5, -5, HIGH, LOW, 1, -22222222, 7],
}


def scene() -> Play:
    """The session before its first message."""
    play = Play(len(VECTORS), label=LABEL, **SETTINGS)
    play.vectors = {name: np.array(vector, dtype=np.int32) for name, vector in VECTORS.items()}
    return play


def transcript() -> dict[str, Any]:
    """All of the session, ready for JSON."""
    play = scene().advertise().share()
    derived = _derived(play)
    gone = {step: [name for name, at in LOST.items() if at == step] for step in Step}
    play.mask(gone[Step.MASK]).confirm(gone[Step.CONFIRM]).unmask(gone[Step.UNMASK])
    total = play.total().tolist()
    config, members = play.config, play.server.members
    settings = {k: v.hex() if isinstance(v, bytes) else v for k, v in asdict(config).items()}
    return {
        "about": "One session of tacit's secure aggregation, every byte of it; see README.md. Bytes are hexadecimal.",
        "draw": "SHA-256(label || counter as 4 bytes, big-endian), counters 0, 1, ... one after another",
        "config": settings | {"bytes": config.encode().hex(), "digest": config.digest.hex()},
        "authority": {"draw": "authority", "key": play.authority.key.hex()},
        "session": members.session.hex(),
        "neighbours": members.degree.neighbours,
        "threshold": members.degree.threshold,
        "clients": [_client(play, name) | derived[name] for name in play.names],
        "messages": _messages(play),
        "sharing": list(play.server.sharing),
        "survivors": list(play.server.survivors),
        "answering": list(play.server.answering),
        "total": total,
    }


def _client(play: Play, name: str) -> dict[str, Any]:
    who = play.identities[name]
    return {
        "name": name,
        "draw": (LABEL + name.encode()).decode(),
        "identity_draw": f"identity of {name}",
        "identity": who.key.hex(),
        "certificate": who.certificate.signature.hex(),
        "model": MODEL.hex(),
        "vector": VECTORS[name],
        "lost_before": LOST[name].name.lower() if name in LOST else None,
    }


def _derived(play: Play) -> dict[str, dict[str, Any]]:
    """The keys that never travel, so that a wrong one can be found."""
    session, found = play.server.members.session, {}
    for i, name in enumerate(play.names):
        secret = keys.X25519PrivateKey.from_private_bytes(play[i]._mask_secret)
        shared = {j: keys.agreed(secret, play.server.members.clients[j].mask_key, name) for j in range(len(play.names))}
        found[name] = {
            "seal_secret": play[i]._seal_secret.hex(),
            "mask_secret": play[i]._mask_secret.hex(),
            "seed": play[i]._seed.hex(),
            "self_key": keys.self_key(play[i]._seed, session).hex(),
            "mask_keys": {play.names[j]: keys.mask_key(shared[j], session, i, j).hex() for j in shared if j != i},
        }
    return found


def _messages(play: Play) -> list[dict[str, str]]:
    """In the order in which they travel."""
    steps = [
        ("advertise", play.adverts, True),
        ("roster", dict.fromkeys(play.adverts, play.roster), False),
        ("shares", play.shares, True),
        ("inbox", play.inboxes, False),
        ("masked", play.uploads, True),
        ("survivors", dict.fromkeys(play.uploads, play.survivors), False),
        ("confirm", play.confirms, True),
        ("confirmed", play.asked, False),
        ("unmask", play.answers, True),
    ]
    return [
        {"kind": kind, "from" if up else "to": name, "bytes": data.hex()}
        for kind, sent, up in steps
        for name, data in sent.items()
    ]


def main() -> None:
    """Writes the file."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(transcript(), indent=1) + "\n")


if __name__ == "__main__":
    main()
