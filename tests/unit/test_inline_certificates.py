"""Certificates that stand in the configuration, and the files that they are kept in."""

from pathlib import Path

from headgate.compile.inline_certificates import _Files
from headgate.config.tls import CertificateConfig

TEXT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_a_file_that_a_loss_of_power_has_emptied_is_written_again(tmp_path: Path) -> None:
    given = CertificateConfig(certificate=TEXT, key="key.pem")
    kept = Path(_Files(tmp_path).of(given, ()).certificate or "")
    assert kept.read_text() == TEXT
    kept.write_bytes(b"")
    assert Path(_Files(tmp_path).of(given, ()).certificate or "") == kept
    assert kept.read_text() == TEXT
