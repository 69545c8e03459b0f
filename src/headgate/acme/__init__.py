"""Certificates from ACME authorities (RFC 8555): ordered, proven, kept in a folder, and renewed in time.

Workers take part by folders only (see `storage`), so whatever happens here delays no request.
"""

from .manager import CertificateManager
from .opening import storage_of

__all__ = ["CertificateManager", "storage_of"]
