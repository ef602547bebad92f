"""What the processes of these tests do: a coordinator, a participant, or several of them; each can be killed."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import hashlib
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tacit.errors import TacitError
from tacit.network import participant as participants
from tacit.network import rounds_thread, serving
from tacit.network.coordinator import Coordinator
from tacit.network.http.limits import Limits
from tacit.network.http.link import Link
from tacit.network.identity.authority import open_authority
from tacit.network.identity.certs import CA, SERVER
from tacit.network.identity.enrolment import Enrolment
from tacit.network.journal import Journal, failpoint
from tacit.network.office import CheckIn, Refused
from tacit.network.serving import Listening, served
from tacit.population.schema import Schema
from tacit.privacy.released import Released
from tests.network import house

EXAMPLES = 4


def begun(folder, log):
    """What every child does first: its words go to a file, and it computes in one thread."""
    out = os.open(Path(folder) / log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(1)


def vector_task(count):
    """A model with one parameter for every client."""
    import tacit

    model = torch.nn.Linear(count, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    return tacit.Task(model, torch.nn.functional.mse_loss)


def vector_data(count):
    return np.zeros((EXAMPLES, count), np.float32), np.zeros((EXAMPLES, 1), np.float32)


def made(spec):
    return house.plan(spec["clients"], spec["rounds"], **spec["sections"])


def task_of(spec):
    return vector_task(spec["clients"]) if spec["vectors"] else house.task()


def schema_of(spec):
    return Schema.of(*vector_data(spec["clients"])) if spec["vectors"] else house.schema()


def coordinate(spec, port, crash="", linger=3.0, stored=False, limits=None, step=None, lease=15.0, versions=None):
    """A coordinator, until the run has ended.

    Args:
        spec: of the scene.
        port: at which it listens.
        crash: a point of the journal's at which it dies.
        linger: seconds for which it waits, at the end, until everybody knows.
        stored: it dies when a noised sum was stored, before anything else is done with it.
        limits: of its surface.
        step: (seconds, by how many): its clock jumps then.
        versions: of the protocol that it speaks.
        lease: seconds for which it holds the journal without a word.
    """
    folder = Path(spec["folder"])
    begun(folder, "coordinator.out")
    os.environ.update({failpoint.VARIABLE: crash, "TACIT_LEDGER": str(folder / "ledger.sqlite")})
    failpoint.arm()
    rounds_thread.PAUSE = 0.1
    Journal.open = functools.partial(Journal.open, lease_seconds=lease)
    if versions is not None:
        serving.Server = functools.partial(serving.Server, versions=versions)
    if stored:
        Released.store = _then_die(Released.store)
    clock = time.time if step is None else Stepped(*step)

    def make():
        return Coordinator(
            made(spec),
            schema_of(spec),
            folder / "run",
            open_authority(folder / "authority.pem"),
            task=task_of(spec),
            journal=spec["journal"],
            loopback=spec["at"] is None,
            clock=clock,
        )

    told = folder / "up"
    limits = None if limits is None else Limits(**limits)
    listening = Listening(port=port, linger=linger, limits=limits)
    if spec["at"]:
        certs = folder / "certs"
        files = {"certificate": certs / f"{SERVER}.pem", "key": certs / f"{SERVER}-key.pem", "ca": certs / f"{CA}.pem"}
        listening = Listening(host=spec["at"], port=port, linger=linger, limits=limits, **files)
    try:
        served(make, listening, started=lambda url, one: told.write_text(str(os.getpid())))
    except TacitError as error:
        (folder / "refused").write_text(f"{type(error).__name__}: {error}")
        sys.exit(error.exit_code)


def _then_die(act):
    def both(*given):
        act(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    return both


class Stepped:
    """A clock that jumps by some seconds, so long after it was made."""

    def __init__(self, after, by):
        self._at, self._by = time.monotonic() + after, by

    def __call__(self):
        return time.time() + (self._by if time.monotonic() > self._at else 0.0)


class Trainer:
    """Adds one to its own parameter, and notes from what model it did: so every model tells who was counted."""

    def __init__(self, k, trace, seconds=0.0, amount=1.0):
        self.k, self.trace, self.seconds, self.amount = k, Path(trace), seconds, amount

    def __call__(self, parameters, x, y):
        weight = parameters["weight"]
        with self.trace.open("a") as file:
            file.write(" ".join(repr(float(v)) for v in weight[0]) + "\n")
        time.sleep(self.seconds)
        weight[0, self.k] += self.amount
        return parameters, 0.0


class Noting(Link):
    """A link that notes what was acknowledged."""

    parties: Path

    async def answer(self, assignment, body, wait=0.0):
        receipt = await super().answer(assignment, body, wait)
        with (self.parties / self._signer.name / "receipts").open("a") as file:
            file.write(f"{hashlib.sha256(body).hexdigest()}\n")
        return receipt


class Dying(Noting):
    """A link of a process that dies before its n-th answer of a kind leaves, or before it learns that it came."""

    point: tuple[str, str, int] = ("", "", 0)

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._kinds, self._left = {}, self.point[2]

    async def check_in(self, said):
        return self._seen(await super().check_in(said))

    async def answer(self, assignment, body, wait=0.0):
        kind, when, _ = self.point
        here = self._kinds.get(assignment) == kind
        self._left -= here
        if here and not self._left and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        receipt = await super().answer(assignment, body, wait)
        if here and not self._left and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        self._seen(receipt.reply)
        return receipt

    def _seen(self, reply):
        """Notes what is asked for."""
        if reply is not None:
            self._kinds |= {one.id: str(one.kind) for one in reply.assignments}
        return reply


class Mischief(Link):
    """A link that tries everything else before it answers as it should, and notes what it was told."""

    place: Path
    masked = True

    async def answer(self, assignment, body, wait=0.0):
        numbers = np.frombuffer(bytes(body)[: len(body) // 4 * 4], "<f4").copy()
        numbers[:] = np.nan
        for what, other in {
            "nothing": b"",
            "torn": bytes(body)[:-1],
            "longer": bytes(body) + b"x",
            "huge": bytes(3 * 2**20),
            "noise": os.urandom(len(body) if self.masked else 7),  # of the right size it is as good a report as any
            "NaN": numbers.tobytes(),
        }.items():
            await self._tried(what, assignment, other)
        await self._tried("of nobody", "0" * 32, body)
        receipt = await super().answer(assignment, body, wait)
        await self._tried("the same", assignment, body)
        await self._tried("another", assignment, bytes(body)[:-1] + bytes([body[-1] ^ 1]))
        return receipt

    async def _tried(self, what, assignment, body):
        try:
            said = f"again {(await super().answer(assignment, body)).again}"
        except Refused as refused:
            said = refused.code.value
        with self.place.open("a") as file:
            file.write(f"{what}: {said}\n")


def participant(spec, k, seconds=0.0, amount=1.0):
    name, folder = spec["names"][k], Path(spec["folder"])
    policy = replace(house.POLICY, secure=spec["secure"], minimum=3, **spec["policy"])
    given = {"task": task_of(spec), "policy": policy}
    if spec["vectors"]:
        given["train"] = Trainer(k, folder / f"{name}.trace", seconds, amount)
    data = vector_data(spec["clients"]) if spec["vectors"] else house.data(k)
    return participants.Participant(None, data, folder=folder / "parties" / name, **given)


def join(spec, k, die=None, skew=0.0, seconds=0.0, amount=1.0, namespace=None, mischief=False, versions=None):
    """A participant, until the run has ended.

    Args:
        spec: of the scene.
        k: its place.
        die: (kind of an answer, "before" or "after" it is sent, the how manieth of the kind): it dies there.
        skew: seconds by which its clock is ahead.
        seconds: that its training takes, in a scene of vectors.
        amount: by which it moves its own parameter there.
        namespace: of the network in which it lives.
        mischief: it tries to have wrong answers taken.
        versions: of the protocol that it speaks.
    """
    folder = Path(spec["folder"])
    if namespace is not None:
        _enter(namespace)
    begun(folder, f"{spec['names'][k]}.out")
    os.environ["TACIT_LEDGER"] = str(folder / "ledger.sqlite")
    kind, Noting.parties = Noting, folder / "parties"
    if die is not None:
        kind, Dying.point = Dying, tuple(die)
    if mischief:
        kind, Mischief.place = Mischief, folder / "mischief"
        Mischief.masked = spec["secure"]
    clock = (lambda: time.time() + skew) if skew else time.time
    participants.Link = functools.partial(kind, clock=clock, **({} if versions is None else {"versions": versions}))
    _attend(spec, k, seconds, amount)


def _enter(namespace):
    with Path(f"/var/run/netns/{namespace}").open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")


def herd(spec, url, count, times):
    """Many links of one participant that check in at the same moment, again and again."""
    begun(spec["folder"], "herd.out")
    place = Path(spec["folder"]) / "parties" / spec["names"][0]
    identity = Enrolment.read(place).identity(place)

    async def one():
        async with Link(identity, url=url, insecure=True, patience=60.0) as link:
            for _ in range(times):
                await link.check_in(CheckIn("0" * 32))

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(count)))

    asyncio.run(all_of_them())


def crowd(spec, ks, seconds=0.0):
    """Several participants, each in a thread of one process."""
    begun(spec["folder"], "crowd.out")
    participants.Link, Noting.parties = Noting, Path(spec["folder"]) / "parties"
    os.environ["TACIT_LEDGER"] = str(Path(spec["folder"]) / "ledger.sqlite")
    threads = [threading.Thread(target=_attend, args=(spec, k, seconds)) for k in ks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _attend(spec, k, seconds=0.0, amount=1.0):
    place = Path(spec["folder"]) / f"{spec['names'][k]}.ended"
    try:
        ended = participant(spec, k, seconds, amount).run()
        place.write_text(f"{ended.state}: {ended.why}")
    except BaseException as error:
        traceback.print_exc()
        place.write_text(f"error: {type(error).__name__}: {error}")
