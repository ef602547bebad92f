"""How both sides speak TLS: version 1.3 and nothing older, and one authority that vouches for the coordinator."""

from __future__ import annotations

import ssl
from pathlib import Path

from tacit.errors import StorageError


def server_context(certificate: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
    """How a coordinator speaks TLS.

    Args:
        certificate: file (PEM) of its certificate, with those between it and the authority.
        key: file (PEM) of its key.
        clients: file (PEM) of the authority by which participants must be certified too; None asks for no certificate.

    Raises:
        StorageError: a file cannot be read, or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # connections last: resuming them is not worth the memory
    _load(context, certificate, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=str(clients))
        except (OSError, ssl.SSLError) as error:
            raise StorageError(f"{clients} holds no certificate of an authority in PEM: {_said(error)}") from None
    return context


def client_context(ca: bytes | None = None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """How a participant speaks TLS: the coordinator's name is checked, and who vouches for it.

    Args:
        ca: certificate (DER) of the one authority that is trusted; None trusts whom the system trusts.
        certificate, key: files (PEM) of its own, where the coordinator asks for them.

    Raises:
        StorageError: a file cannot be read, or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise StorageError(f"what is pinned is no certificate of an authority: {_said(error)}") from None
    if certificate is not None:
        _load(context, certificate, key or certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for file in (certificate, key):
        if not file.exists():
            raise StorageError(f"there is no file {file}: give the certificate and its key, as `tacit certs` made them")
    try:
        context.load_cert_chain(str(certificate), str(key))
    except (OSError, ssl.SSLError) as error:
        raise StorageError(
            f"{certificate} and {key} are no certificate with its key in PEM: {_said(error)}. `tacit certs` makes them"
        ) from None


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
