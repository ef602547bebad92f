"""The conformance vectors: what clients in other languages are held to, and this one too."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.json_format import ParseDict

from tacit.network.http.limits import Limits
from tacit.network.http.signing import Signed
from tacit.network.office import Refused
from tacit.network.wire import decode, encode
from tacit.network.wire.codec import FORMS
from tests.network.http.office import Memory
from tests.network.http.serving import sent, served, written
from tests.network.vectors.make import ANSWER, ASSIGNMENT, FOLDER, NOW, VECTORS, document, private

KINDS = {form.message.DESCRIPTOR.name: kind for kind, form in FORMS.items()}


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", list(VECTORS))
def test_the_vectors_are_what_this_version_does(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == document(name), "the protocol was changed: other clients break"


def test_every_signature_holds_over_its_text_and_the_text_is_that_of_the_request() -> None:
    vectors = read("request_signatures")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vectors["public_key"]))
    for request in vectors["requests"]:
        found = Signed.read(request["headers"])
        key.verify(bytes.fromhex(request["headers"]["Tacit-Signature"]), request["signed_text"].encode())
        assert found.text(request["method"], request["target"]).decode() == request["signed_text"]


def test_every_message_is_read_as_its_fields_say() -> None:
    vectors = read("messages")
    for vector in vectors["messages"]:
        kind, data = KINDS[vector["message"]], bytes.fromhex(vector["bytes"])
        message = FORMS[kind].message()
        message.ParseFromString(data)
        assert message == ParseDict(vector["fields"], FORMS[kind].message())
        assert encode(decode(kind, data)) == data
    for vector in vectors["refused"]:
        with pytest.raises(Refused):
            decode(KINDS[vector["message"]], bytes.fromhex(vector["bytes"]))


def test_every_kind_of_message_has_a_vector() -> None:
    assert {vector["message"] for vector in read("messages")["messages"]} == set(KINDS)


def test_a_server_answers_an_upload_as_the_vectors_say(tmp_path: Path) -> None:
    async def story() -> None:
        office = Memory(keys={"mercy": private().public_key().public_bytes_raw()})
        office.ask("mercy", ASSIGNMENT)
        limits = Limits(chunk=1000)
        async with served(office, spool=tmp_path, limits=limits, clock=lambda: NOW / 1000) as server:
            for step in read("uploads")["steps"]:
                request, body = step["request"], bytes.fromhex(step["request"]["body"])
                headers = {**request["headers"], "Content-Length": str(len(body))}
                answer = await sent(server, written(request["method"], request["target"], headers, body))
                assert answer.status == step["status"]
                assert step["reply"] in {None, answer.body.hex()}
        assert office.answers[ASSIGNMENT] == ANSWER

    asyncio.run(story())
