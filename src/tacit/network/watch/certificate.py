"""A server's certificate, looked at as a doctor does: whose it is, until when, and why it is not trusted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509

SOON = 14
"""Days before its end in which a certificate is to be renewed."""
WHY = {
    9: ("it is not valid yet", "check this machine's clock, and the coordinator's when it was made"),
    10: ("it has expired", "the coordinator needs a new one: `tacit certs`"),
    18: ("nobody that is trusted here vouches for it", "give the authority's certificate with --ca, or enrol here"),
    19: ("its authority is not trusted here", "give the authority's certificate with --ca, or enrol here"),
    20: ("its authority is not trusted here", "give the authority's certificate with --ca; a proxy may break TLS open"),
    62: ("it is for another name", "use the one that it was made for, or have it made anew with --host for this"),
    64: (
        "it is for another address",
        "use the one that it was made for, or have it made anew with --host for this",
    ),
}
"""By OpenSSL's code of a failed verification: why, and what to do."""


@dataclass(frozen=True)
class Certificate:
    """What is seen of a certificate.

    Attributes:
        names: for which it is.
        issuer: who vouches for it.
        until: its last moment, in seconds since 1970.
        fingerprint: sha256 of it, hexadecimal.
    """

    names: tuple[str, ...]
    issuer: str
    until: float
    fingerprint: str

    @classmethod
    def read(cls, der: bytes) -> Certificate | None:
        """What a certificate (DER) says; None where it cannot be read."""
        try:
            found = x509.load_der_x509_certificate(der)
            names = _names(found)
        except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension):
            return None
        until = found.not_valid_after_utc.timestamp()
        return cls(names, _clean(found.issuer.rfc4514_string()), until, sha256(der).hexdigest())

    def days(self, now: float) -> float:
        """How many are left at a time (seconds since 1970)."""
        return (self.until - now) / 86400

    @property
    def ends(self) -> str:
        """Its last day."""
        return datetime.fromtimestamp(self.until, UTC).strftime("%Y-%m-%d")


def why(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Why a certificate was not trusted, and what to do."""
    return WHY.get(
        error.verify_code, (_clean(error.verify_message), "have it looked at by whoever runs the coordinator")
    )


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    texts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return tuple(_clean(text) for text in texts)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]
