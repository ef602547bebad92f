"""Between values and bytes. A peer's bytes are measured before they are parsed, and checked before they are a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from tacit.network.office import (
    ID,
    INLINE,
    Assignment,
    Blob,
    CheckIn,
    Code,
    Enrolled,
    Failure,
    Kind,
    Outcome,
    Receipt,
    Refused,
    Reply,
    Withdrawal,
)
from tacit.network.wire import checks
from tacit.network.wire import tacit_pb2 as pb
from tacit.network.wire.values import Enrol, Problem, Time, Upload, Uploaded

T = TypeVar("T")

SMALL = 64 * 2**10
"""Most bytes of a message that holds no assignments."""
REPLY = 16 * 2**20
PAYLOAD = 2**20
BLOBS, ASSIGNMENTS, WORKING, REMAINS, SPEAKS = 16, 64, 64, 64, 8
"""Most entries of the lists."""
COUNT = 2**31 - 1
"""The largest number of a round, or of rounds."""
SIZE = 2**48
"""Most bytes of a blob or of an answer."""
DAY = 86_400_000
YEAR = 366 * DAY
"""The longest times, ms."""
LONG_POLL = 25_000

KINDS = {kind: pb.Kind.Value(f"KIND_{kind.name}") for kind in Kind}
CODES = {code: pb.Code.Value(f"CODE_{code.name}") for code in Code}
STATES = {name: pb.State.Value(f"STATE_{name.upper()}") for name in ("gathering", "training", "finished", "failed")}
FAILURES = {
    name: pb.FailureKind.Value(f"FAILURE_{name.upper()}")
    for name in ("refused", "data", "memory", "session", "unexpected")
}


class Form(NamedTuple):
    """How one kind of value travels."""

    message: type[Message]
    largest: int
    write: Callable[[Any], Message]
    read: Callable[[Any], Any]


def encode(value: Any) -> bytes:
    """The bytes of a value."""
    return FORMS[type(value)].write(value).SerializeToString(deterministic=True)


def decode(kind: type[T], data: bytes) -> T:
    """The value of this kind in bytes of a peer.

    Raises:
        Refused: they hold none (MALFORMED), or are more than such a message may be (TOO_LARGE).
    """
    form = FORMS[kind]
    name = form.message.DESCRIPTOR.name
    if len(data) > form.largest:
        raise Refused(Code.TOO_LARGE, f"{name} of {len(data):,} bytes: {form.largest:,} at most")
    message = form.message()
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError):
        raise checks.malformed(f"these {len(data):,} bytes are no {name}") from None
    found: T = form.read(message)
    return found


def largest(kind: type[Any]) -> int:
    """Most bytes of a message of this kind."""
    return FORMS[kind].largest


def _chosen(table: Mapping[Any, int], number: int, what: str) -> Any:
    for value, its in table.items():
        if its == number:
            return value
    raise checks.malformed(f"{what} is number {number}, which this side does not know")


def _listed(values: Any, limit: int, what: str) -> Any:
    if len(values) > limit:
        raise checks.malformed(f"{len(values):,} {what}: {limit} at most")
    return values


def _blob(message: pb.Blob) -> Blob:
    return Blob(checks.digits(message.sha256, 64, "sha256 of a blob"), checks.most(message.size, SIZE, "size"))


def _write_blob(blob: Blob) -> pb.Blob:
    return pb.Blob(sha256=blob.sha256, size=blob.size)


def _named_blob(message: pb.NamedBlob) -> tuple[str, Blob]:
    blob, data = _blob(message.blob), message.data
    if data and (len(data) != blob.size or len(data) > INLINE):
        raise checks.malformed(f"{len(data):,} bytes travel with a blob of {blob.size:,}: all of it, up to {INLINE:,}")
    return checks.text(message.name, "name of a blob", checks.WORD), replace(blob, data=data)


def _write_named_blob(name: str, blob: Blob) -> pb.NamedBlob:
    return pb.NamedBlob(name=name, blob=_write_blob(blob), data=blob.data)


def _write_enrol(value: Enrol) -> Message:
    return pb.Enrol(token=value.token, name=value.name, key=value.key)


def _read_enrol(m: pb.Enrol) -> Enrol:
    return Enrol(checks.text(m.token, "the token", checks.WORD), checks.name(m.name), checks.fixed(m.key, 32, "key"))


def _write_enrolled(value: Enrolled) -> Message:
    return pb.Enrolled(name=value.name, authority=value.authority, certificate=value.certificate)


def _read_enrolled(m: pb.Enrolled) -> Enrolled:
    authority = checks.fixed(m.authority, 32, "the authority's key")
    return Enrolled(checks.name(m.name), authority, checks.fixed(m.certificate, 64, "certificate"))


def _write_check_in(value: CheckIn) -> Message:
    return pb.CheckIn(
        incarnation=value.incarnation,
        terms=value.terms,
        approval=value.approval,
        version=checks.said(value.version, checks.WORD),
        engine=checks.said(value.engine, checks.WORD),
        wait_ms=checks.milliseconds(value.wait, LONG_POLL),
        working=value.working,
        note=checks.said(value.note),
    )


def _read_check_in(m: pb.CheckIn) -> CheckIn:
    working = tuple(checks.digits(id, ID, "an id") for id in _listed(m.working, WORKING, "assignments"))
    return CheckIn(
        checks.digits(m.incarnation, ID, "incarnation"),
        checks.digits(m.terms, 64, "terms", empty=True),
        checks.fixed(m.approval, 64, "approval", empty=True),
        checks.text(m.version, "version", checks.WORD),
        checks.text(m.engine, "engine", checks.WORD),
        checks.most(m.wait_ms, LONG_POLL, "wait_ms") / 1000,
        working,
        checks.text(m.note, "note"),
    )


def _write_assignment(value: Assignment) -> pb.Assignment:
    return pb.Assignment(
        id=value.id,
        kind=f"KIND_{value.kind.name}",
        round=value.round,
        attempt=value.attempt,
        for_ms=checks.milliseconds(value.seconds, YEAR),
        limit=value.limit,
        payload=value.payload,
        blobs=[_write_named_blob(name, blob) for name, blob in value.blobs.items()],
    )


def _read_assignment(m: pb.Assignment) -> Assignment:
    checks.most(len(m.payload), PAYLOAD, "bytes of a payload")
    blobs = dict(_named_blob(one) for one in _listed(m.blobs, BLOBS, "blobs"))
    if len(blobs) != len(m.blobs):
        raise checks.malformed("an assignment names a blob twice")
    return Assignment(
        checks.digits(m.id, ID, "id"),
        _chosen(KINDS, m.kind, "kind"),
        checks.most(m.round, COUNT, "round"),
        checks.most(m.attempt, COUNT, "attempt"),
        checks.most(m.for_ms, YEAR, "for_ms") / 1000,
        checks.most(m.limit, SIZE, "limit"),
        m.payload,
        blobs,
    )


def _write_reply(value: Reply) -> pb.Reply:
    return pb.Reply(
        state=f"STATE_{value.state.upper()}",
        round=value.round,
        rounds=value.rounds,
        assignments=[_write_assignment(a) for a in value.assignments],
        terms=_write_blob(value.terms) if value.terms else None,
        outcome=pb.Outcome(round=value.outcome.round, attempt=value.outcome.attempt, counted=value.outcome.counted)
        if value.outcome
        else None,
        model=_write_blob(value.model) if value.model else None,
        wait_ms=checks.milliseconds(value.wait, DAY),
        said=checks.said(value.said),
    )


def _read_reply(m: pb.Reply) -> Reply:
    outcome = None
    if m.HasField("outcome"):
        rounds = checks.most(m.outcome.round, COUNT, "round"), checks.most(m.outcome.attempt, COUNT, "attempt")
        outcome = Outcome(*rounds, m.outcome.counted)
    return Reply(
        _chosen(STATES, m.state, "state"),
        checks.most(m.round, COUNT, "round"),
        checks.most(m.rounds, COUNT, "rounds"),
        tuple(_read_assignment(a) for a in _listed(m.assignments, ASSIGNMENTS, "assignments")),
        _blob(m.terms) if m.HasField("terms") else None,
        outcome,
        _blob(m.model) if m.HasField("model") else None,
        checks.most(m.wait_ms, DAY, "wait_ms") / 1000,
        checks.text(m.said, "said"),
    )


def _write_failure(value: Failure) -> Message:
    return pb.Failure(kind=f"FAILURE_{value.kind.upper()}", text=checks.said(value.text))


def _read_failure(m: pb.Failure) -> Failure:
    return Failure(_chosen(FAILURES, m.kind, "kind"), checks.text(m.text, "text"))


def _write_receipt(value: Receipt) -> Message:
    return pb.Receipt(again=value.again, reply=None if value.reply is None else _write_reply(value.reply))


def _read_receipt(m: pb.Receipt) -> Receipt:
    return Receipt(m.again, _read_reply(m.reply) if m.HasField("reply") else None)


def _write_withdrawal(value: Withdrawal) -> Message:
    return pb.Withdrawal(counted=value.counted, remains=[checks.said(s, 2**9) for s in value.remains[:REMAINS]])


def _read_withdrawal(m: pb.Withdrawal) -> Withdrawal:
    remains = tuple(checks.text(s, "a sentence") for s in _listed(m.remains, REMAINS, "sentences"))
    return Withdrawal(checks.most(m.counted, COUNT, "counted"), remains)


def _write_upload(value: Upload) -> Message:
    return pb.Upload(assignment=value.assignment, length=value.length, sha256=value.sha256)


def _read_upload(m: pb.Upload) -> Upload:
    length = checks.most(m.length, SIZE, "length")
    return Upload(checks.digits(m.assignment, ID, "assignment"), length, checks.digits(m.sha256, 64, "sha256"))


def _write_uploaded(value: Uploaded) -> Message:
    return pb.Uploaded(id=value.id, offset=value.offset, length=value.length, chunk=value.chunk)


def _read_uploaded(m: pb.Uploaded) -> Uploaded:
    length = checks.most(m.length, SIZE, "length")
    if not m.chunk:
        raise checks.malformed("chunk is 0: nothing could be sent")
    return Uploaded(checks.digits(m.id, ID, "id"), checks.most(m.offset, length, "offset"), length, m.chunk)


def _write_time(value: Time) -> Message:
    return pb.Time(now_ms=value.now, speaks=value.speaks, version=value.version)


def _read_time(m: pb.Time) -> Time:
    speaks = tuple(checks.text(s, "a version", 16) for s in _listed(m.speaks, SPEAKS, "versions"))
    return Time(checks.most(m.now_ms, SIZE, "now_ms"), speaks, checks.text(m.version, "version", checks.WORD))


def _write_problem(value: Problem) -> Message:
    return pb.Problem(
        code=f"CODE_{value.code.name}",
        problem=checks.said(value.problem),
        remedy=checks.said(value.remedy),
        after_ms=None if value.after is None else checks.milliseconds(value.after, DAY),
        server_time_ms=value.now,
    )


def _read_problem(m: pb.Problem) -> Problem:
    return Problem(
        _chosen(CODES, m.code, "code"),
        checks.text(m.problem, "problem"),
        checks.text(m.remedy, "remedy"),
        checks.most(m.after_ms, DAY, "after_ms") / 1000 if m.HasField("after_ms") else None,
        checks.most(m.server_time_ms, SIZE, "server_time_ms"),
    )


FORMS: dict[type[Any], Form] = {
    Enrol: Form(pb.Enrol, SMALL, _write_enrol, _read_enrol),
    Enrolled: Form(pb.Enrolled, SMALL, _write_enrolled, _read_enrolled),
    CheckIn: Form(pb.CheckIn, SMALL, _write_check_in, _read_check_in),
    Reply: Form(pb.Reply, REPLY, _write_reply, _read_reply),
    Failure: Form(pb.Failure, SMALL, _write_failure, _read_failure),
    Receipt: Form(pb.Receipt, REPLY, _write_receipt, _read_receipt),
    Withdrawal: Form(pb.Withdrawal, SMALL, _write_withdrawal, _read_withdrawal),
    Upload: Form(pb.Upload, SMALL, _write_upload, _read_upload),
    Uploaded: Form(pb.Uploaded, SMALL, _write_uploaded, _read_uploaded),
    Time: Form(pb.Time, SMALL, _write_time, _read_time),
    Problem: Form(pb.Problem, SMALL, _write_problem, _read_problem),
}
