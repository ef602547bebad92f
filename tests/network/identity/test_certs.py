"""Certificates: made by one command, for the hosts that are named, and never over others."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner

from tacit.cli.certs import certs
from tacit.errors import StorageError, UsageError
from tacit.network.identity import client_context, make_certificates, server_context


def test_a_certificate_names_its_hosts_and_is_vouched_for(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, ["fl.example", "*.fl.example", "10.0.0.5", "::1"], days=30, clients=["mercy"])
    ca, server, mercy = (
        x509.load_pem_x509_certificate(place.read_bytes())
        for place in (made.ca, made.certificate, made.clients["mercy"][0])
    )
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example", "*.fl.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "::1"]
    for certificate in (server, mercy):
        certificate.verify_directly_issued_by(ca)
        assert 29 <= (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 30
    for certificate, purpose in [(server, ExtendedKeyUsageOID.SERVER_AUTH), (mercy, ExtendedKeyUsageOID.CLIENT_AUTH)]:
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    for key in (made.ca_key, made.key, made.clients["mercy"][1]):
        assert key.stat().st_mode & 0o777 == 0o600


def test_an_earlier_authority_vouches_for_certificates_that_replace_others(tmp_path: Path) -> None:
    first = make_certificates(tmp_path / "first", ["fl.example"])
    second = make_certificates(tmp_path / "second", ["fl.example"], authority=tmp_path / "first")
    assert second.pin == first.pin and second.ca == first.ca
    renewed = x509.load_pem_x509_certificate(second.certificate.read_bytes())
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate(first.ca.read_bytes()))
    with pytest.raises(StorageError, match="are no authority"):
        make_certificates(tmp_path / "third", ["fl.example"], authority=tmp_path / "second")


def test_nothing_is_written_over_and_nothing_is_left_half_made(tmp_path: Path) -> None:
    (tmp_path / "server-key.pem").write_text("mine")
    with pytest.raises(UsageError, match="not written over"):
        make_certificates(tmp_path, ["fl.example"])
    assert [path.name for path in tmp_path.iterdir()] == ["server-key.pem"]


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        make_certificates(tmp_path, ["a b", "ok.example", "-", "x" * 300], days=0, clients=["../up", "two", "two"])
    for part in ("'a b'", "days is 0", "'../up'", "named twice"):
        assert part in str(refused.value)
    with pytest.raises(UsageError, match="no host"):
        make_certificates(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_files_that_hold_no_certificates_are_named(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["fl.example"])
    (tmp_path / "none").write_text("nothing")
    with pytest.raises(StorageError, match="tacit certs"):
        server_context(tmp_path / "gone", made.key)
    with pytest.raises(StorageError, match="tacit certs"):
        server_context(made.certificate, made.ca_key)
    with pytest.raises(StorageError, match="authority"):
        server_context(made.certificate, made.key, tmp_path / "none")
    with pytest.raises(StorageError, match="pinned"):
        client_context(b"nothing")


def test_only_what_is_pinned_is_trusted(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, ["fl.example"])
    assert len(client_context(made.pin).get_ca_certs()) == 1


def test_the_command_makes_them_and_says_what_comes_next(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(certs)
    words = ["--out", str(tmp_path / "certs"), "--host", "fl.example", "--client", "mercy"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0
    assert "tacit serve" in first.stdout
    assert "client-mercy.pem" in first.stdout
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, UsageError)
    assert "not written over" in str(again.exception)
