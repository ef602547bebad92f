"""The roster as a client or the server reads it: who takes part, checked, and the graph among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from tacit.aggregation.secure import keys
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.graph import Degree, neighbours
from tacit.aggregation.secure.identity import verified
from tacit.aggregation.secure.messages import Advertise, Roster
from tacit.errors import IdentityError, StaleMessage


class Members:
    """The clients of one session.

    Args:
        config: of the session.
        data: the bytes of the roster.
        most: clients in it, at most.

    Raises:
        MalformedMessage: they are none.
        IdentityError: a name or a key is there twice.
        StaleMessage: a client means another session.
        PolicyError: it is too long.
    """

    def __init__(self, config: Config, data: bytes, most: int = 2**32) -> None:
        self.entries = Roster.decode(data, most).entries
        self.clients = tuple(Advertise.decode(entry) for entry in self.entries)
        self.names = tuple(client.name for client in self.clients)
        digest = config.digest
        self.session = keys.session_of(digest, data)
        self._config, self._holders = config, dict[int, tuple[int, ...]]()
        for before, after in zip(self.names, self.names[1:], strict=False):
            if before >= after:
                raise IdentityError(f"the roster names {after!r} after {before!r}: names are unique, and in order")
        owners: dict[bytes, str] = {}
        for client in self.clients:
            if client.config != digest:
                raise StaleMessage(f"{client.name!r} signed the settings of another session")
            require_unlike(client, owners)
            owners.update(dict.fromkeys(client.keys, client.name))

    def __len__(self) -> int:
        return len(self.clients)

    @cached_property
    def degree(self) -> Degree:
        """Neighbours and threshold."""
        return self._config.degree(len(self))

    def holders(self, index: int) -> tuple[int, ...]:
        """Who holds shares of a client's secrets: its neighbours and itself, ascending."""
        if index not in self._holders:
            around = neighbours(keys.ring_seed(self.session), len(self), self.degree.neighbours, index)
            self._holders[index] = tuple(sorted((*around, index)))
        return self._holders[index]


def require_unlike(client: Advertise, owners: Mapping[bytes, str]) -> None:
    """No key of a client is another's, or there twice.

    Args:
        client: that comes.
        owners: of the keys that are there, by key.

    Raises:
        IdentityError: one is.
    """
    own = client.keys
    if len(set(own)) < len(own):
        raise IdentityError(f"{client.name!r} uses one key for two purposes")
    for key in own:
        if key in owners:
            raise IdentityError(f"{client.name!r} and {owners[key]!r} have the same key: somebody is there twice")


def require_identity(client: Advertise, authorities: Collection[bytes]) -> None:
    """A client is whom an accepted authority says, and signed its keys.

    Raises:
        IdentityError: not so.
    """
    if client.certificate is None:
        raise IdentityError(f"{client.name!r} has no identity, and this session asks for one")
    if client.certificate.authority not in authorities:
        raise IdentityError(f"the identity of {client.name!r} is certified by an authority that is not accepted")
    if not client.certificate.holds(client.name, client.identity):
        raise IdentityError(f"the certificate of {client.name!r} is forged: it is for another name or key")
    if not verified(client.identity, client.signature, client.signed):
        raise IdentityError(f"the keys of {client.name!r} are not signed by its identity: they were exchanged")
