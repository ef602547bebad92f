"""Enrolment at the participant's side: an invitation and a name become a key and a certificate in a folder."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.errors import UsageError
from tacit.network.consent.folder import Folder
from tacit.network.consent.log import Log
from tacit.network.http.link import Link, enrol
from tacit.network.identity.enrolment import KEY, Enrolment
from tacit.network.identity.invitation import Invitation
from tacit.network.identity.key import new_key, read_key
from tacit.network.identity.tls import client_context
from tacit.network.office import Code, Enrolled, Refused, Withdrawal

TRIES, PAUSE = 8, 0.5
"""How often, and seconds after which, a token that is not known is shown again."""


def enrolled(
    invitation: str,
    name: str,
    place: str | Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Enrolment:
    """Enrols with the coordinator that an invitation names, once; the token is spent by it.

    Asked again after a failure it goes on with the same key. A folder that is enrolled with this coordinator under
    this name is left as it is.

    Args:
        invitation: its text.
        name: under which the participant will be known.
        place: its folder; the user's own when None.
        certificate, key: files of its own certificate, where the coordinator asks for one in TLS.

    Raises:
        UsageError: the invitation cannot be read, or the folder is somebody else's.
        Refused: the token is wrong, spent or expired, or the name is taken.
    """
    folder, invited = Folder.at(place).make(), Invitation.read(invitation)
    if folder.enrolment.is_file():
        known = Enrolment.read(folder.path)
        if (known.name, known.url, known.authority) == (name, invited.url, invited.authority):
            return known
        raise UsageError(
            f"{folder.path} is the folder of {known.name!r}, enrolled with {known.url}: give each participant a folder "
            "of its own (--dir)"
        )
    own = read_key(folder.path / KEY) if (folder.path / KEY).is_file() else new_key(folder.path / KEY)
    insecure = invited.url.startswith("http:")
    context = None if insecure else client_context(invited.ca, certificate, key)
    found = asyncio.run(_enrolled(name, own, invited, context))
    if found.authority != invited.authority:
        raise UsageError("the coordinator certifies by another authority than the invitation names: ask who sent it")
    enrolment = Enrolment(found.name, invited.url, found.authority, found.certificate, invited.ca)
    enrolment.identity(folder.path)  # the certificate must hold before it is kept
    enrolment.write(folder.path)
    public = own.public_key().public_bytes_raw().hex()
    Log(folder.log).write(
        "enrolled", name=found.name, coordinator=invited.url, authority=found.authority.hex(), key=public
    )
    return enrolment


async def _enrolled(name: str, own: Ed25519PrivateKey, invited: Invitation, context: ssl.SSLContext | None) -> Enrolled:
    """Enrols. An invitation that was just written works a moment later: it is tried again for as long."""
    insecure = invited.url.startswith("http:")
    for left in range(TRIES, -1, -1):
        try:
            return await enrol(name, own, invited.token, url=invited.url, context=context, insecure=insecure)
        except Refused as refused:
            if refused.code is not Code.FORBIDDEN or not left:
                raise
            await asyncio.sleep(PAUSE)
    raise AssertionError("the last try returns or raises")


def withdrawn(
    place: str | Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> tuple[int, tuple[str, ...]]:
    """Leaves for good: the consent is withdrawn, and no run of this coordinator asks for anything any more.

    Returns:
        In how many rounds the participant was counted, and what remains of them, in sentences.

    Raises:
        Refused: it has left before.
    """
    folder = Folder.at(place)
    enrolment = Enrolment.read(folder.path)

    async def leave() -> Withdrawal:
        identity, context = enrolment.identity(folder.path), enrolment.context(certificate, key)
        async with Link(identity, url=enrolment.url, context=context, insecure=enrolment.insecure) as link:
            return await link.withdraw()

    found = asyncio.run(leave())
    Log(folder.log).write("withdrawn", counted=found.counted, remains=" ".join(found.remains))
    return found.counted, found.remains
