"""Endpoints: what a URL in a setting means for each protocol, and how it is shown without its secrets."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Endpoint", "parse_endpoint", "redact", "redact_url"]

_HOST = re.compile(r"[\w.-]+|\[[\w.:%-]+\]")
_ACCEPTED = "accepted is a URL such as http://localhost:4318, or host:port"


class Endpoint(NamedTuple):
    """A URL in parts. ``scheme`` is empty when the text had none, ``host`` has the brackets of an IPv6 address."""

    scheme: str
    host: str
    port: int | None
    path: str = ""
    query: str = ""
    userinfo: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.for_http('')!r})"  # without the password

    def for_http(self, suffix: str) -> str:
        """The complete URL: ``suffix``, such as ``/v1/logs``, goes after the path; empty leaves it as it is."""
        path = self.path.rstrip("/") + suffix if suffix else self.path
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme or 'http'}://{self.host}{port}{path}{self.query and '?' + self.query}"

    def for_grpc(self, *, insecure: bool) -> str:
        """Scheme, host and port, as gRPC has no path; the port is the scheme's when there is none."""
        port = self.port or (80 if insecure else 443)
        return f"{'http' if insecure else 'https'}://{self.host}:{port}"

    def authorization(self) -> str:
        """The ``Authorization`` header that ``user:password@`` stands for; empty without one (RFC 7617)."""
        if not self.userinfo:
            return ""
        import base64
        from urllib.parse import unquote_to_bytes

        return "Basic " + base64.b64encode(unquote_to_bytes(self.userinfo)).decode("ascii")


def parse_endpoint(text: str) -> Endpoint:
    """Read ``http(s)://host[:port][/path]`` or ``host:port``.

    Raises:
        ValueError: For anything else. ``urlsplit``'s own texts are not passed on, since they repeat passwords.
    """
    from urllib.parse import urlsplit

    bare = "://" not in text
    try:
        parts = urlsplit(f"http://{text}" if bare else text)
        port = parts.port
    except ValueError:
        raise ValueError(f"its host or port is not valid; {_ACCEPTED}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"its scheme is not http or https; {_ACCEPTED}")
    userinfo, _, _ = parts.netloc.rpartition("@")
    host = parts.netloc[len(userinfo) :].lstrip("@")
    host = host if port is None else host.rpartition(":")[0]
    host = host.removesuffix(":")
    # a word alone is a slip of the pen more often than a host; Claude Code sends such to localhost without a word
    if bare and port is None and "." not in host and not host.startswith("["):
        raise ValueError(f"it has neither a scheme nor a port; {_ACCEPTED}")
    if port == 0 or not _HOST.fullmatch(host) or not text.isprintable() or re.search(r"\s", text):
        raise ValueError(f"its host or port is not valid; {_ACCEPTED}")
    return Endpoint("" if bare else parts.scheme, host, port, parts.path, parts.query, userinfo)


def redact(text: str) -> str:
    """``text`` with everything that may be a user and password before an ``@`` hidden."""
    before, at, after = text.rpartition("@")
    if not at:
        return text
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}//***@{after}" if slashes and scheme in ("http:", "https:") else f"***@{after}"


def redact_url(text: str) -> str:
    """As ``redact``; the query, where some services want their key, is hidden too."""
    shown, mark, _ = redact(text).partition("?")
    return f"{shown}?***" if mark else shown
