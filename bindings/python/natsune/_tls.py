"""How TLS is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class TlsOptions:
    """How TLS is done. With any of these, or with `tls://`, nothing secret ever goes out in clear."""

    required: bool = False
    """TLS or nothing, also for `nats://` and for discovered servers."""
    ca_pem: str | None = None
    """Certificates to trust instead of the system's, as PEM text."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's, as a PEM file."""
    cert_pem: str | None = None
    """Our own certificate chain, as PEM text."""
    cert_file: str | None = None
    """Our own certificate chain, as a PEM file."""
    key_pem: str | None = None
    """The key of our certificate, as PEM text."""
    key_file: str | None = None
    """The key of our certificate, as a PEM file."""
    handshake_first: bool = False
    """TLS from the first byte; the server must be configured for it."""
    server_name: str | None = None
    """The name to expect in the server's certificate instead of the URL's host."""

    def __repr__(self) -> str:
        return f"TlsOptions(required={self.required}, ca_file={self.ca_file!r}, server_name={self.server_name!r})"
