"""Makes certificates for TLS: an authority of one's own, a coordinator's certificate, participants' where asked for.

Keys are ECDSA over P-256, which every TLS library speaks.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tacit.errors import Problems, StorageError, UsageError
from tacit.network.identity.key import read_private, write_private

DAYS, AUTHORITY_DAYS = 365, 3650
"""How long certificates hold: the coordinator's and participants', the authority's at least."""
LONGEST = 3650
EARLIER = datetime.timedelta(hours=1)
"""Certificates hold from so long before they were made: clocks differ."""
CA, SERVER = "ca", "server"
"""The names of the files, with .pem for the certificate and -key.pem for its key."""


@dataclass(frozen=True)
class Made:
    """The files that were made.

    Attributes:
        ca: the authority's certificate, for everybody.
        ca_key: its key; keep it elsewhere than on the coordinator.
        certificate, key: the coordinator's.
        clients: certificate and key by name of participant.
    """

    ca: Path
    ca_key: Path
    certificate: Path
    key: Path
    clients: dict[str, tuple[Path, Path]]

    @property
    def pin(self) -> bytes:
        """The authority's certificate as an invitation has it (DER)."""
        return x509.load_pem_x509_certificate(self.ca.read_bytes()).public_bytes(Encoding.DER)


def make_certificates(
    folder: Path,
    hosts: Sequence[str],
    *,
    days: int = DAYS,
    clients: Sequence[str] = (),
    authority: Path | None = None,
) -> Made:
    """Makes an authority, a coordinator's certificate, and one for each client.

    Args:
        folder: for the files; keys get the mode 0600.
        hosts: names and addresses by which participants reach the coordinator.
        days: for which the certificates hold.
        clients: names of participants, for TLS in which both sides show a certificate.
        authority: folder of an earlier authority, which vouches for these too: those who know it trust them.

    Raises:
        UsageError: a host or name that no certificate can have; files that are there already.
        StorageError: a file cannot be written or read.
    """
    names = [*([CA] if authority is None else []), SERVER, *(f"client-{name}" for name in clients)]
    places = {name: (folder / f"{name}.pem", folder / f"{name}-key.pem") for name in names}
    of_authority = ((authority or folder) / f"{CA}.pem", (authority or folder) / f"{CA}-key.pem")
    with Problems("the certificates cannot be made", UsageError) as problems:
        problems.check(bool(hosts), "no host is given: give the names and addresses of the coordinator")
        problems.check(1 <= days <= LONGEST, f"days is {days!r}: give 1 to {LONGEST}")
        problems.extend(f"host {host!r} is no name and no address" for host in hosts if not _is_host(host))
        for name in clients:
            problems.check(_is_file(name), f"client {name!r}: give letters, digits, - and _, 64 at most")
        problems.check(len(set(clients)) == len(clients), "a client is named twice")
        for place in (place for pair in places.values() for place in pair):
            problems.check(not place.exists(), f"{place} is there already, and is not written over")
    if authority is None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        root = _authority(ca_key, max(days, AUTHORITY_DAYS))
        _keep(of_authority, root, ca_key)
    else:
        root, ca_key = _earlier(*of_authority)
    for name in (name for name in names if name != CA):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = hosts[0] if name == SERVER else name.removeprefix("client-")
        _keep(places[name], _leaf(key, subject, root, ca_key, days, hosts if name == SERVER else ()), key)
    made = {name: places[f"client-{name}"] for name in clients}
    return Made(*of_authority, *places[SERVER], made)


def _earlier(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """An authority that was made before.

    Raises:
        StorageError: its files cannot be read, or do not belong together.
    """
    try:
        root = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = load_pem_private_key(read_private(key, "key of the authority"), None)
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{certificate} and {key} are no authority of `tacit certs`: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != root.public_key():
        raise StorageError(f"{key} is not the key of {certificate}: put back a copy of both")
    return root, private


def _authority(key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
    name = _name("tacit coordinator's authority")
    usage = _usage(certifies=True)
    return (
        _begun(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    subject: str,
    root: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    days: int,
    hosts: Sequence[str],
) -> x509.Certificate:
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    names: list[x509.GeneralName] = [_general(host) for host in hosts] or [x509.DNSName(subject)]
    return (
        _begun(_name(subject), root.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certifies=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


def _keep(places: tuple[Path, Path], certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(places[1], key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "key")
    try:
        with places[0].open("xb") as file:
            file.write(certificate.public_bytes(Encoding.PEM))
    except OSError as error:
        raise StorageError(f"the certificate {places[0]} cannot be written: {error.strerror}") from None


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.removeprefix("*.").split(".")
        return len(host) <= 253 and all(_is_file(label.replace("_", "!")) for label in labels)
    return True


def _is_file(name: str) -> bool:
    return 1 <= len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
