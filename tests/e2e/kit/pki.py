"""Certificates made for a test: an authority and what it signs, as PEM files."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Leaf:
    """A certificate with its key, in two files."""

    certificate: x509.Certificate
    private_key: PrivateKey
    chain: str
    key: str

    @property
    def files(self) -> dict[str, str]:
        """Its files as the configuration names them."""
        return {"certificate": self.chain, "key": self.key}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_fingerprint(self) -> str:
        """SHA-256 of the public key, in hex."""
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.certificate.public_key().public_bytes(encoding, form))
        return digest.finalize().hex()


class Authority:
    """A certificate authority whose files lie in `folder`; `ca` is the path of its own certificate."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        self.certificate = (
            self._builder(self.name, self.key, NOW - DAY, NOW + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.ca = self._write(f"{name.replace(' ', '-')}.pem", self.certificate)

    def issue(
        self,
        *names: str,
        subject: str | None = None,
        rsa_key: bool = False,
        days: tuple[float, float] = (-1, 90),
        for_client: bool = False,
        for_both: bool = False,
        has_common_name: bool = True,
        file: str | None = None,
    ) -> Leaf:
        """A certificate for these names (or IP addresses), valid between `days` from now."""
        key: PrivateKey = (
            rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        )
        subject = subject or (names[0] if names else "nobody")
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]
        if has_common_name:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, subject))
        name = x509.Name(parts)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH if for_client else ExtendedKeyUsageOID.SERVER_AUTH]
        if for_both:
            purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = self._builder(name, key, NOW + days[0] * DAY, NOW + days[1] * DAY)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(one) for one in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        stem = file or f"{subject.replace('*', 'any')}-{certificate.serial_number:x}"[:60]
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        path = self.folder / f"{stem}.key"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        return Leaf(certificate, key, self._write(f"{stem}.pem", certificate), str(path))

    def revoke(self, *leaves: Leaf, days: tuple[float, float] = (-1, 30)) -> str:
        """The path of a revocation list with these certificates."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(NOW + days[0] * DAY).next_update(NOW + days[1] * DAY)
        for leaf in leaves:
            revoked = x509.RevokedCertificateBuilder().serial_number(leaf.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(NOW - DAY).build())
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        path = self.folder / "revoked.crl"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return str(path)

    def ocsp_response(self, leaf: Leaf) -> str:
        """The path of an OCSP response that says the certificate is good."""
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=leaf.certificate,
            issuer=self.certificate,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=NOW - DAY,
            next_update=NOW + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        response = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate).sign(
            self.key, hashes.SHA256()
        )
        path = self.folder / "response.der"
        path.write_bytes(response.public_bytes(serialization.Encoding.DER))
        return str(path)

    def client(self, leaf: Leaf | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this authority, and shows `leaf`."""
        context = ssl.create_default_context(cafile=self.ca)
        if leaf:
            context.load_cert_chain(leaf.chain, leaf.key)
        return context

    def server(self, leaf: Leaf, *, wants_certificate: bool = False) -> ssl.SSLContext:
        """What a server needs that shows `leaf`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.chain, leaf.key)
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def _builder(
        self, name: x509.Name, key: PrivateKey, begin: datetime.datetime, end: datetime.datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        return builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )

    def _write(self, name: str, certificate: x509.Certificate) -> str:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
