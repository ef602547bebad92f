"""Who is who on the network: keys, invitations, the authority that certifies participants, and certificates for TLS."""

from tacit.network.identity.authority import new_authority, open_authority
from tacit.network.identity.certs import Made, make_certificates
from tacit.network.identity.enrolment import Enrolment
from tacit.network.identity.invitation import Invitation, hash_of, new_token
from tacit.network.identity.key import new_key, read_key
from tacit.network.identity.tls import client_context, server_context

__all__ = [
    "Enrolment",
    "Invitation",
    "Made",
    "client_context",
    "hash_of",
    "make_certificates",
    "new_authority",
    "new_key",
    "new_token",
    "open_authority",
    "read_key",
    "server_context",
]
