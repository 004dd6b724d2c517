"""How one signal goes over OTLP: the general settings, the signal's own, and the rules between them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from claude_monitoring._settings_sources import Source, Sources
from claude_monitoring._settings_url import Endpoint, redact_url
from claude_monitoring.types import Signal

__all__ = ["OtlpSettings", "resolve"]

_HTTP_DEFAULT = Endpoint("http", "localhost", 4318)
_GRPC_DEFAULT = Endpoint("http", "localhost", 4317)


class OtlpSettings(NamedTuple):
    """How one signal is sent over OTLP. Hashable; its ``repr`` shows no header value.

    ``endpoint`` is the complete URL for http, with ``/v1/<signal>``, and ``http(s)://host:port`` for grpc.
    ``headers`` have lower-case names. ``timeout_s`` limits one request and may be infinite. The three files are PEM.
    ``insecure`` says that there is no TLS.
    """

    protocol: str
    endpoint: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    compression: str = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    insecure: bool = True

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.headers)
        limit = "no limit" if self.timeout_s == math.inf else f"{self.timeout_s:g} s"
        return (
            f"OtlpSettings({self.protocol!r}, {redact_url(self.endpoint)!r}, headers=<{names}>, timeout={limit}, "
            f"compression={self.compression!r}, certificate={self.certificate!r}, client_key={self.client_key!r}, "
            f"client_certificate={self.client_certificate!r}, insecure={self.insecure})"
        )


class _Resolver:
    """Collects the values for one signal, and the sources among them that can't be used."""

    def __init__(self, sources: Sources, signal: Signal) -> None:
        self._sources = sources
        self._signal = signal
        self.bad: list[Source] = []

    def value(self, part: str) -> Any:
        return self._value_of(self._find(part), self._sources.default(part))

    def endpoint(self, protocol: str) -> tuple[Endpoint, str]:
        """The endpoint, and what goes behind its path."""
        default = _GRPC_DEFAULT if protocol == "grpc" else _HTTP_DEFAULT
        source = self._find("endpoint")
        own = source is not None and source.name != "endpoint"
        return self._value_of(source, default), "" if own else f"/v1/{self._signal}"

    def headers(self, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """All the usable ones merged, as long as the deciding one is usable; a URL's user becomes one of them."""
        merged: dict[str, str] = {}
        given = self._sources.every(f"{self._signal}_headers", "headers")
        if given and given[0].reason:
            self.bad.append(given[0])
        for source in reversed(given):
            merged.update(source.value or ())
        if authorization := endpoint.authorization():
            merged.setdefault("authorization", authorization)
        return tuple(merged.items())

    def client_pair(self, *, tls: bool) -> tuple[str | None, str | None]:
        """Client certificate and its key: both or neither."""
        certificate, key = self._find("client_certificate"), self._find("client_key")
        if certificate is None and key is None and tls:
            certificate, key = (self._sources.find(f"claude_{part}") for part in ("client_certificate", "client_key"))
        for one, other, wanted in ((certificate, key, "key"), (key, certificate, "certificate")):
            if one is not None and other is None and not one.reason:
                self.bad.append(self._sources.clash(one, f"it needs the client {wanted} as well, which is not set"))
        return self._value_of(certificate, None), self._value_of(key, None)

    def _find(self, part: str) -> Source | None:
        return self._sources.find(f"{self._signal}_{part}", part)

    def _value_of(self, source: Source | None, default: Any) -> Any:
        if source is None:
            return default
        if source.reason:
            self.bad.append(source)
            return default
        return source.value


def resolve(sources: Sources, signal: Signal) -> tuple[OtlpSettings, list[Source]]:
    """The settings for ``signal``, and what among them can't be used (its default stands there instead)."""
    resolver = _Resolver(sources, signal)
    whole = sources.find(f"{signal}_otlp")
    if whole is not None and not whole.reason:
        return whole.value, []
    if whole is not None:
        resolver.bad.append(whole)
    protocol = resolver.value("protocol")
    endpoint, suffix = resolver.endpoint(protocol)
    insecure = endpoint.scheme != "https"
    if protocol == "grpc" and not endpoint.scheme:
        insecure = resolver.value("insecure")
    client_certificate, client_key = resolver.client_pair(tls=not insecure)
    settings = OtlpSettings(
        protocol=protocol,
        endpoint=endpoint.for_grpc(insecure=insecure) if protocol == "grpc" else endpoint.for_http(suffix),
        headers=resolver.headers(endpoint),
        timeout_s=resolver.value("timeout_s"),
        compression=resolver.value("compression"),
        certificate=resolver.value("certificate"),
        client_key=client_key,
        client_certificate=client_certificate,
        insecure=insecure,
    )
    return settings, resolver.bad
