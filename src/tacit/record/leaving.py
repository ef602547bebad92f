"""What left a client where reports are summed unseen, message by message, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

MESSAGES: dict[str, tuple[str, str, str]] = {
    "advertise": ("up", "two public keys of this round alone, signed", "everybody; they hold nothing of the data"),
    "roster": ("down", "everybody's keys", ""),
    "shares": ("up", "shares of its two secrets, each sealed for one neighbour", "that neighbour, one share"),
    "inbox": ("down", "the shares that its neighbours sealed for it", ""),
    "masked": ("up", "its report under masks", "nobody: the server adds it to the others'"),
    "survivors": ("down", "whose reports arrived", ""),
    "confirm": ("up", "its signature of that list", "everybody"),
    "confirmed": ("down", "its neighbours' signatures", ""),
    "unmask": ("up", "one share for each neighbour: of its mask, or, where it was lost, of its key", "the server"),
}
"""Of each message: which way, what it holds, and who can read what of the client."""
LOSSES = (
    "<p>Beside these messages, and unprotected: every client that was asked told the server its loss, for this run's "
    "selection asks for it.</p>"
)
"""What is to be added where a selection uses the losses of single clients."""
BOTH = "any silo together with the server"
SHARED_KEY: dict[str, tuple[str, str, str, str]] = {
    "joined": ("once", "up", "a public key of this run, signed", "everybody; it holds nothing of the data"),
    "roster": ("once", "down", "everybody's keys", ""),
    "boxes": ("once", "up, the first silo", "the secret key, sealed for each other silo", "those silos"),
    "box": ("once", "down", "the secret key, sealed for it", ""),
    "report": ("up", "up", "its report, encrypted and signed", BOTH),
    "question": ("decrypting", "down, one silo", "the encrypted sum", BOTH),
    "answer": ("decrypting", "up, one silo", "the sum", "the server"),
}
"""The same where silos share a key, with where the run says how many bytes it has."""


def rows(summed: Mapping[str, Any]) -> list[tuple[str, str, int, str, str]]:
    """Of each message: name, way, bytes, what it holds, who reads it.

    Args:
        summed: what a run says of its secure aggregation.
    """
    if "who_can_decrypt" in summed:
        return [
            (name, way, int(summed[f"bytes_{place}"][name]), holds, readers)
            for name, (place, way, holds, readers) in SHARED_KEY.items()
        ]
    found = []
    for name, (way, holds, readers) in MESSAGES.items():
        size = summed[f"bytes_{way}"].get(name)
        if size is not None:
            found.append((name, way, int(size), holds, readers))
    return found


def page(summed: Mapping[str, Any]) -> str:
    """The section's text as HTML."""
    head = "".join(f"<th>{name}</th>" for name in ("message", "way", "bytes", "what it holds", "who can read it"))
    lines = "".join(
        f"<tr><td>{name}</td><td>{way}</td><td>{size:,}</td><td>{escape(holds)}</td><td>{escape(readers)}</td></tr>"
        for name, way, size, holds, readers in rows(summed)
    )
    up, down = (sum(summed[f"bytes_{way}"].values()) for way in ("up", "down"))
    notes = _of_shared_key(summed) if "who_can_decrypt" in summed else _of_masks(summed)
    text = "".join(f"<p>{escape(note)}</p>" for note in notes)
    total = f"<tr><td>every round</td><td></td><td>{up:,} up, {down:,} down</td><td></td><td></td></tr>"
    return f'{text}<div class="table"><table class="said"><tr>{head}</tr>{lines}{total}</table></div>'


RUN = {
    "full": "Simulated by the protocol itself, message by message.",
    "network": "The protocol ran between machines, message by message.",
}


def _of_masks(summed: Mapping[str, Any]) -> list[str]:
    """What secure aggregation promises, and on what that rests."""
    graph = f"{summed['neighbours']} neighbours each, of which {summed['threshold']} rebuild a secret"
    return [
        f"The server learns sums of at least {summed['minimum']} reports, and nothing of a single one: no update, no "
        f"number of examples, no metric. {graph}.",
        f"That rests on at most {summed['corrupt']:.0%} of the clients working with the server; sums come through "
        f"while at most {summed['dropout']:.0%} are lost.",
        *(["Without identities the server could invent clients: use it in tests only."] * (not summed["identities"])),
        "A sum still says something of those in it: differential privacy bounds that, secure aggregation does not.",
        RUN.get(summed["protocol"], "Simulated by what the protocol computes; the sizes are those of its messages."),
    ]


def _of_shared_key(summed: Mapping[str, Any]) -> list[str]:
    """The same of encryption under a shared key."""
    who = summed["who_can_decrypt"]
    return [
        f"The server adds encrypted reports and learns sums of at least {summed['minimum']}. "
        f"{who[0].upper()}{who[1:]}: all {summed['silos']} silos share one key.",
        "A silo decrypts what the server says is a sum of so many reports, once in a round, and cannot verify that.",
        f"BFV in a ring of degree {summed['ring_degree']}, {summed['security_bits']} bits of security.",
        "A sum still says something of those in it: differential privacy bounds that, encryption does not.",
        "Simulated by the encryption itself, report by report."
        if summed["simulated"] == "full"
        else "Simulated by what the encryption computes; the sizes are those of ciphertexts made here.",
    ]
