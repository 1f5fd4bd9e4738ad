"""TLS for NATS in a cluster: an authority of our own, and one certificate for its servers.

Nobody outside has to trust it: the services are given its `ca.crt` (NATS_CA_FILE). The servers' certificate is renewed,
by the same authority, when `make secrets` is run within its last months. Bring your own by putting it in place.
"""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMESPACE = "parley"
SERVERS = 5
"""As many as a stream has replicas at most. One by one: OpenSSL refuses `*.nats-headless` for its single dot."""
SERVICES = ("nats", "nats-headless", *(f"nats-{number}.nats-headless" for number in range(SERVERS)))
AUTHORITY_DAYS = 3650
SERVER_DAYS = 825
RENEW_DAYS = 120
CLOCKS_DIFFER = timedelta(hours=1)


def names() -> list[str]:
    """Return every name by which a client or another server of the cluster may know a server."""
    ends = ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local")
    return [service + end for service in SERVICES for end in ends] + ["localhost"]


def ensure(directory: Path) -> list[str]:
    """Make or renew what is missing or ends soon in `directory`; return a line on each."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    server = directory / "tls.crt"
    authority = directory / "ca.crt"
    if server.exists() and (directory / "tls.key").exists() and authority.exists():
        end = x509.load_pem_x509_certificate(server.read_bytes()).not_valid_after_utc
        if end - now > timedelta(days=RENEW_DAYS):
            return [f"the certificate of NATS is kept; it ends on {end:%Y-%m-%d}"]
        if not (directory / "ca.key").exists():
            return [f"the certificate of NATS ends on {end:%Y-%m-%d}; it is not ours to renew: there is no ca.key"]
    if not (authority.exists() and (directory / "ca.key").exists()):
        _make_authority(directory, now)
    end = _make_server(directory, now)
    return [f"a certificate of NATS was made; it ends on {end:%Y-%m-%d}"]


def _make_authority(directory: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Parley NATS authority")])
    certificate = (
        _begun(name, name, key.public_key(), key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(directory / "ca.key", _private(key))
    _write(directory / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _make_server(directory: Path, now: datetime) -> datetime:
    authority = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    signing = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey), "ca.key holds another kind of key than we make"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nats")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names()]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    # Servers are clients of one another.
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _begun(subject, authority.subject, key.public_key(), signing, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(signing, hashes.SHA256())
    )
    _write(directory / "tls.key", _private(key))
    _write(directory / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM))
    return certificate.not_valid_after_utc


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signing: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    by = signing.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(content)
    draft.replace(file)
