"""The operator's box: a folder in which the operator of this machine leaves word for a coordinator that runs.

A file in it is a wish: to let a token in, or to send a participant away. Who may write there is whoever may write to
the run's folder; the coordinator takes the files in the order of their names, and removes each when it is done.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.errors import StorageError, TacitError, UsageError
from tacit.network.identity.invitation import Invitation, hash_of, new_token

if TYPE_CHECKING:
    from tacit.network.coordinator import Coordinator

FOLDER = "operator"
ADDRESS = "address.json"
"""What the coordinator says of itself, for invitations."""
LARGEST = 4096
DAY_MS = 86_400_000
LOOK = 1.0
"""Seconds between two looks into the box."""


def say_address(folder: Path, url: str, authority: bytes, ca: bytes | None) -> None:
    """Keeps what an invitation holds, beside the token."""
    told = {"url": url, "authority": authority.hex(), "ca": None if ca is None else ca.hex()}
    place = folder / ADDRESS
    try:
        (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
        place.write_text(json.dumps(told), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{place} cannot be written: {error}") from error


def invite(folder: Path, days: float = 7.0, note: str = "", url: str | None = None) -> Invitation:
    """An invitation to the run in this folder, which works from when the coordinator has looked into its box.

    Args:
        folder: of the run.
        days: for which it can be used.
        note: for the operator: whom it is for.
        url: by which the participant reaches the coordinator, where that is another than it listens at.

    Raises:
        UsageError: no coordinator was ever started there.
        StorageError: the box cannot be written.
    """
    try:
        told = json.loads((folder / ADDRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"no coordinator was started with {folder}: tacit serve PLAN --out {folder}") from error
    token, until = new_token(), int(time.time() * 1000 + days * DAY_MS)
    _leave(folder, {"token": hash_of(token), "until": until, "note": note})
    ca = None if told["ca"] is None else bytes.fromhex(told["ca"])
    return Invitation(url or told["url"], token, bytes.fromhex(told["authority"]), ca)


def revoke(folder: Path, name: str, reason: str) -> None:
    """Lets the coordinator of the run in this folder send a participant away for good.

    Raises:
        UsageError: no coordinator was ever started there.
    """
    if not (folder / ADDRESS).is_file():
        raise UsageError(f"no coordinator was started with {folder}: give the folder of its run")
    _leave(folder, {"revoke": name, "reason": reason or "the operator revoked it"})


def emptied(folder: Path, coordinator: Coordinator) -> None:
    """Does what lies in the box. What cannot be read is set aside, with what is wrong in its name."""
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            if path.stat().st_size > LARGEST:
                raise UsageError("too long")
            _do(json.loads(path.read_text(encoding="utf-8")), coordinator)
            path.unlink()
        except StorageError:
            return  # the journal cannot be written now: at the next look
        except (OSError, ValueError, KeyError, TypeError, TacitError):
            with suppress(OSError):  # gone, or on a disk that cannot be written: at the next look
                path.rename(path.with_suffix(".refused"))


def _do(wish: dict[str, Any], coordinator: Coordinator) -> None:
    if "token" in wish:
        digest = bytes.fromhex(wish["token"])
        coordinator.journal.add_token(digest, expires_ms=int(wish["until"]), note=str(wish["note"]))
    else:
        name, reason = str(wish["revoke"]), str(wish["reason"])
        coordinator.roll.add(coordinator.journal.revoke(name, reason))
        coordinator.minutes.tell("participant.revoked", participant=name, reason=reason)


def _leave(folder: Path, wish: dict[str, Any]) -> None:
    box = folder / FOLDER
    name = f"{time.time_ns()}-{secrets.token_hex(4)}"
    try:
        box.mkdir(mode=0o700, exist_ok=True)
        partial = box / f".{name}"
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(wish), encoding="utf-8")
        partial.rename(box / f"{name}.json")
    except OSError as error:
        raise StorageError(f"{box} cannot be written: {error}") from error
