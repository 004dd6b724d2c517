"""A private certificate authority and what it issued."""

from __future__ import annotations

from pathlib import Path

import trustme

__all__ = ["Credentials"]


class Credentials:
    """PEM files in ``folder``.

    Attributes:
        authority: Certificate of the authority.
        server: Key and chain for ``localhost``.
        client_key, client_certificate: Of a client that the authority knows.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1", "::1")
        client = authority.issue_cert("probe@matrix.example")
        self.authority = str(folder / "authority.pem")
        self.server = str(folder / "server.pem")
        self.client_key, self.client_certificate = str(folder / "client.key"), str(folder / "client.pem")
        authority.cert_pem.write_to_path(self.authority)
        server.private_key_and_cert_chain_pem.write_to_path(self.server)
        client.private_key_pem.write_to_path(self.client_key)
        client.cert_chain_pems[0].write_to_path(self.client_certificate)
