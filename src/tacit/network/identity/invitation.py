"""What a participant is handed, by another way than the network, to enrol: one line of text.

    tacit+https://host:port/#token=...&authority=...&ca=...

The token can be used once. The authority's public key and the certificate of the coordinator's authority for TLS are
pinned by it, so that neither is learned from whoever answers. Its parts stand behind a #, where no client of the web
sends them to a server.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from tacit.errors import UsageError

TOKEN = 32
"""Random bytes of a token."""
LARGEST = 8192
PREFIX = "tacit+"
PARTS = ("token", "authority", "ca")


def new_token() -> str:
    """A token that nobody can guess, as a text of 43 characters."""
    return _text(secrets.token_bytes(TOKEN))


def hash_of(token: str) -> str:
    """What a coordinator keeps of a token: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Invitation:
    """What it takes to enrol.

    Attributes:
        url: of the coordinator: https://host:port, or http on loopback.
        token: that can be used once.
        authority: public key of who certifies participants, 32 bytes.
        ca: certificate (DER) of the authority that certified the coordinator for TLS; None where the system's
            authorities vouch for it, or there is no TLS.
    """

    url: str
    token: str
    authority: bytes
    ca: bytes | None = None

    @property
    def text(self) -> str:
        """The line that is handed over. It is a secret until it was used."""
        parts = [f"token={self.token}", f"authority={_text(self.authority)}"]
        if self.ca is not None:
            parts.append(f"ca={_text(self.ca)}")
        return f"{PREFIX}{self.url}/#{'&'.join(parts)}"

    def __repr__(self) -> str:  # a token is not for logs
        return f"Invitation(url={self.url!r}, authority={self.authority.hex()!r})"

    @classmethod
    def read(cls, text: str) -> Invitation:
        """The invitation in a line.

        Raises:
            UsageError: it holds none. The message does not repeat it, for it may hold a token.
        """
        text = text.strip()
        wrong = UsageError(
            "this is no invitation: it looks like tacit+https://host:port/#token=...&authority=...&ca=..., in one line"
        )
        if len(text) > LARGEST or not text.startswith(PREFIX) or not text.isascii():
            raise wrong
        try:
            url = urlsplit(text.removeprefix(PREFIX))
            port = url.port
        except ValueError:
            raise wrong from None
        pairs = [part.partition("=") for part in url.fragment.split("&")]
        found = {name: value for name, _, value in pairs}
        known = len(found) == len(pairs) and {"token", "authority"} <= set(found) <= set(PARTS)
        if not known or url.scheme not in {"https", "http"} or not url.hostname or port is None or url.path != "/":
            raise wrong
        try:
            token, authority = _bytes(found["token"]), _bytes(found["authority"])
            ca = _bytes(found["ca"]) if "ca" in found else None
        except (ValueError, binascii.Error):
            raise wrong from None
        if len(token) != TOKEN or len(authority) != 32 or ca == b"" or url.username is not None or url.query:
            raise wrong
        return cls(f"{url.scheme}://{url.netloc}", found["token"], authority, ca)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not as it is written")
    return data
