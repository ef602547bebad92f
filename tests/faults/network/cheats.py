"""Coordinators and participants that break the protocol of secure sums, as processes of their own."""

from __future__ import annotations

from dataclasses import replace

from tacit.aggregation.secure import client as clients
from tacit.aggregation.secure import shamir
from tacit.aggregation.secure.messages import Confirmed, Inbox, Roster, Shares, Survivors, Unmask
from tacit.aggregation.secure.roster import Members
from tacit.errors import InsufficientSurvivors
from tacit.network import wire_sums
from tacit.network.office import Kind
from tests.faults.network import actors

TIMES = 1
"""So many attempts a coordinator cheats; afterwards it is honest."""


class Two(wire_sums.WireSession):
    """Shows half of the participants one roster and the others another, of the same length, and carries on with both.

    Of six participants the first roster lacks the last one, the second roster the one before it: 0, 1 and 4 are shown
    the first, 2, 3 and 5 the second. Everything that is of one session is written anew for the other.
    """

    cheated = 0

    def begin(self, down):
        if Two.cheated >= TIMES:
            super().begin(down)
            return
        orders = {name: self.sums.at.order(self.round, k, self.group) for name, k in self._names.items()}
        kind, blobs = self.sums.at.opening(down)
        said = {}

        def keep(name, body):
            said[name] = bytes(body)
            self._processes[name] = self.sums.at.process(name)

        self._ask(kind, orders, keep, blobs, self.sums.at.settings.patience)
        names, config = sorted(said), self.server.config
        rosters = [Roster(tuple(said[n] for n in names if n != names[-1 - k])).encode() for k in (0, 1)]
        both = [Members(config, roster) for roster in rosters]
        shown = {names[k]: 0 if k in (0, 1, 4) else 1 for k in range(6)}
        self._carry_on(names, rosters, both, shown)
        Two.cheated += 1
        raise InsufficientSurvivors("unmasking", 0, config.minimum)

    def _carry_on(self, names, rosters, both, shown):
        got = {kind: {} for kind in Kind}

        def ask(kind, payloads, blobs=None):
            self._ask(kind, payloads, lambda name, body: got[kind].__setitem__(name, bytes(body)), blobs, limit=10**6)

        for k in (0, 1):
            blob = self.sums.at.shelf.put(rosters[k])
            ask(Kind.SHARE, {name: b"" for name in names if shown[name] == k}, {"roster": blob})
        shares = {name: Shares.decode(body) for name, body in got[Kind.SHARE].items()}
        everybody = tuple(range(5))
        inboxes = {}
        for name in shares:
            members = both[shown[name]]
            mine = members.names.index(name)
            boxes = [
                (index, box.box, box.commitments)
                for index, owner in enumerate(members.names)
                for box in shares[owner].boxes
                if box.holder == mine
            ]
            inboxes[name] = Inbox(members.session, everybody, tuple(boxes)).encode(5)
        ask(Kind.MASK, inboxes)
        told = {name: Survivors(both[shown[name]].session, everybody).encode(5) for name in got[Kind.MASK]}
        ask(Kind.CONFIRM, told)
        confirmed = {}
        for name in got[Kind.CONFIRM]:
            members = both[shown[name]]
            signatures = [
                (index, clients.Confirm.decode(got[Kind.CONFIRM][other]).signature)
                for index, other in enumerate(members.names)
                if other in got[Kind.CONFIRM]
            ]
            confirmed[name] = Confirmed(members.session, tuple(signatures)).encode()
        ask(Kind.UNMASK, confirmed)
        assert not got[Kind.UNMASK], "a participant unmasked what others were told otherwise"


class Lacking(wire_sums.WireSession):
    """Shows everybody a roster in which the first participant's keys are others: of an earlier message of its own."""

    cheated = 0

    def begin(self, down):
        if Lacking.cheated < TIMES:
            Lacking.cheated += 1
            self.server.close_advertise = self._exchanged(self.server.close_advertise)
        super().begin(down)

    def _exchanged(self, close):
        def closed():
            roster = close()
            entries = list(Roster.decode(roster).entries)
            entries[0] = entries[0][:-1] + bytes([entries[0][-1] ^ 1])
            return Roster(tuple(entries)).encode()

        return closed


def coordinate(spec, port, how, **options):
    """A coordinator that cheats in its first attempt."""
    wire_sums.WireSession = {"two rosters": Two, "a changed roster": Lacking}[how]
    actors.coordinate(spec, port, **options)


def _other_share(share, session):
    """A committed share is another than the one that is sealed: whoever opens the box sees it."""
    message = Shares.decode(share)
    first = next(box for box in message.boxes if box.holder != session._index)
    wrong = replace(first, commitments=(first.commitments[0], bytes(16)))
    boxes = tuple(wrong if box is first else box for box in message.boxes)
    return replace(message, boxes=boxes).encode()


class Cheat(clients.Client):
    """A participant that breaks the protocol.

    Attributes:
        how: it does.
        left: so many sessions are left in which it cheats.
    """

    how = ""
    left = 0

    def share(self, roster):
        if self.how != "another secret" or not self._again():
            found = super().share(roster)
            return _other_share(found, self) if self.how == "a wrong share" and self._again() else found
        split = shamir.split
        shamir.split = lambda secret, *rest: split(bytes(32), *rest)
        try:
            return super().share(roster)
        finally:
            shamir.split = split

    def unmask(self, data):
        found = super().unmask(data)
        if self.how != "a wrong answer" or not self._again():
            return found
        message = Unmask.decode(found)
        wrong = tuple((owner, share[:-1] + bytes([share[-1] ^ 1])) for owner, share in message.shares)
        return replace(message, shares=wrong).encode()

    def _again(self):
        type(self).left -= 1
        return type(self).left >= 0


def join(spec, k, how, times, **options):
    """A participant that cheats in its first sessions."""
    from tacit.network import sessions

    Cheat.how, Cheat.left = how, times
    sessions.Client = Cheat
    actors.join(spec, k, **options)
