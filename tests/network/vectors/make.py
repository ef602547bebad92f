"""Makes the conformance vectors: `python -m tests.network.vectors.make`. If they change, so did the protocol."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict

from tacit.network.http.signing import signed, text, written
from tacit.network.http.spool import identify
from tacit.network.office import (
    Assignment,
    Blob,
    CheckIn,
    Code,
    Enrolled,
    Failure,
    Kind,
    Outcome,
    Receipt,
    Reply,
    Withdrawal,
)
from tacit.network.wire import Enrol, Problem, Time, Upload, Uploaded, encode
from tacit.network.wire.codec import FORMS
from tests.network.http.serving import Someone
from tests.network.vectors.reports import reports

FOLDER = Path(__file__).parent
SEED = bytes(range(32))
NOW = 1_700_000_000_000
ANSWER = bytes(n * n % 251 for n in range(2500))
ASSIGNMENT = "a1" * 16
CHUNK = 1000


def private() -> Ed25519PrivateKey:
    """The key of the vectors, which is no secret."""
    return Ed25519PrivateKey.from_private_bytes(SEED)


def request(name: str, method: str, target: str, body: bytes, number: int, **more: str) -> dict[str, Any]:
    """A request with its headers, and the text under its signature."""
    who, nonce, digest = Someone(name, private()), hashlib.sha256(bytes([number])).digest()[:16], hashlib.sha256(body)
    at = NOW + number
    headers = signed(who, version="1", method=method, target=target, digest=digest.digest(), time=at, nonce=nonce)
    said = text("1", method, target, digest.hexdigest(), str(at), nonce.hex(), written(name))
    return {
        "method": method,
        "target": target,
        "headers": {**headers, **more},
        "body": body.hex(),
        "signed_text": said.decode(),
    }


def signatures() -> dict[str, Any]:
    """Requests under their signatures."""
    asked = encode(CheckIn("0" * 32))
    return {
        "private_key": SEED.hex(),
        "public_key": private().public_key().public_bytes_raw().hex(),
        "requests": [
            request("mercy", "POST", "/v1/check-in", asked, 1),
            request("mercy", "GET", f"/v1/blobs/{'5' * 64}", b"", 2),
            request("St. Anne's 医院", "PUT", f"/v1/answers/{ASSIGNMENT}", ANSWER, 3),
            request("mercy", "GET", "/v1/time?x=%20&y=%C3%BC", b"", 4),
        ],
    }


def messages() -> dict[str, Any]:
    """Every message, as fields and as bytes; and bytes that must be refused."""
    blob = Blob("5" * 64, 4096)
    asked = Assignment(ASSIGNMENT, Kind.MASK, 3, 1, 12.5, 10_000, b"payload", {"down": blob})
    small = replace(Blob(hashlib.sha256(b"a roster").hexdigest(), 8), data=b"a roster")
    along = Assignment(ASSIGNMENT, Kind.SHARE, 3, 1, 12.5, 10_000, b"", {"roster": small})
    other = replace(along, blobs={"roster": replace(small, size=9)})
    values: list[Any] = [
        Enrol("token", "St. Anne's 医院", bytes(range(32))),
        Enrolled("mercy", bytes(range(32)), bytes(range(64))),
        CheckIn("0" * 32),
        CheckIn("0" * 32, "1" * 64, bytes(range(64)), "1.0", "eager", 25.0, ("2" * 32, "3" * 32), "no data today"),
        Reply("gathering", wait=1.5, said="waiting for 2 more"),
        Reply("training", 2, 10, (asked,), blob, Outcome(2, 0, True), None, 0.0, ""),
        Reply("finished", 10, 10, model=blob),
        Failure("refused", "the plan asks for more epsilon than is allowed"),
        Receipt(),
        Receipt(again=True),
        Receipt(reply=Reply("training", 2, 10, (along,), blob)),
        Withdrawal(3, ("three models hold what it sent, in sums",)),
        Upload(ASSIGNMENT, 2500, hashlib.sha256(ANSWER).hexdigest()),
        Uploaded("4" * 32, 1000, 2500, 1000),
        Time(NOW, ("1",), "1.0"),
        *(Problem(code, "what was wrong", "what to do", None, NOW) for code in Code),
        Problem(Code.TOO_MANY, "too often", "later", 0.0, NOW),
    ]
    refused = [
        ("CheckIn", "", "an incarnation has 32 digits"),
        ("CheckIn", encode(CheckIn("A" * 32)).hex(), "digits are lower-case"),
        ("CheckIn", encode(CheckIn("0" * 32))[:-1].hex(), "it ends early"),
        ("Failure", "0863", "there is no such kind"),
        ("Failure", "", "a kind must be said"),
        ("Receipt", "ff", "no protobuf"),
        (
            "Reply",
            encode(Reply("training", 2, 10, (other,))).hex(),
            "more bytes are announced than come along",
        ),
        ("Upload", encode(Upload("0" * 31, 1, "5" * 64)).hex(), "an id has 32 digits"),
        ("Uploaded", encode(Uploaded("4" * 32, 2, 1, 1)).hex(), "more bytes than it has"),
    ]
    return {
        "messages": [
            {
                "message": form.message.DESCRIPTOR.name,
                "fields": _fields(form.write(value)),
                "bytes": encode(value).hex(),
            }
            for value in values
            for form in [FORMS[type(value)]]
        ],
        "refused": [{"message": name, "bytes": data, "why": why} for name, data, why in refused],
    }


def uploads() -> dict[str, Any]:
    """An answer in three chunks, one of which is sent twice: requests in order, and the reply to each."""
    upload = Upload(ASSIGNMENT, len(ANSWER), hashlib.sha256(ANSWER).hexdigest())
    id = identify("mercy", upload)
    place = f"/v1/uploads/{id}"

    def chunk(at: int, number: int) -> dict[str, Any]:
        return request("mercy", "PATCH", place, ANSWER[at : at + CHUNK], number, **{"Upload-Offset": str(at)})

    def state(offset: int) -> str:
        return encode(Uploaded(id, offset, len(ANSWER), CHUNK)).hex()

    steps = [
        (request("mercy", "POST", "/v1/uploads", encode(upload), 10), 200, state(0)),
        (chunk(0, 11), 200, state(1000)),
        (chunk(0, 12), 409, None),
        (request("mercy", "POST", "/v1/uploads", encode(upload), 13), 200, state(1000)),
        (chunk(1000, 14), 200, state(2000)),
        (chunk(2000, 15), 200, state(2500)),
        (request("mercy", "POST", f"{place}/commit", b"", 16), 200, encode(Receipt()).hex()),
        (request("mercy", "POST", f"{place}/commit", b"", 17), 200, encode(Receipt(again=True)).hex()),
        (chunk(0, 11), 401, None),
    ]
    return {
        "private_key": SEED.hex(),
        "answer": ANSWER.hex(),
        "steps": [{"request": asked, "status": status, "reply": reply} for asked, status, reply in steps],
    }


def _fields(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


VECTORS = {"request_signatures": signatures, "messages": messages, "uploads": uploads, "reports": reports}


def document(name: str) -> str:
    """The text of one file of vectors."""
    return json.dumps(VECTORS[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in VECTORS:
        (FOLDER / f"{each}.json").write_text(document(each))
