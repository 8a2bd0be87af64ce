"""Fetching over http and https from addresses that strangers name.

The name is resolved once a hop, every address that it has is checked, and the connection goes to
the address that was checked: a name that answers differently the next time gains nothing.
Redirects are followed by hand, each checked like the first. Proxies and cookies are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from schemas.media_job import FetchPart
from udfs.media_image import MediaError

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BLOCK: Final = 1 << 16
_AGENT: Final = "sluice-media"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Prefixes in which an IPv4 address hides in an IPv6 one (RFC 6052, 3056, 4380).
_TUNNELS: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
                                            "2001::/32", "::/96")
)  # fmt: skip

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to the addresses that it has, as text."""


class Head(NamedTuple):
    """What an answer says about itself."""

    content_type: str
    address: str
    """That it came from in the end."""


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is public, or of a private network that is named.

    Args:
        address: IPv4 or IPv6.
        networks: CIDR.
    """
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if any(found in ipaddress.ip_network(network) for network in networks):
        return True
    if any(found in tunnel for tunnel in _TUNNELS):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def fetch_http(
    address: str,
    part: FetchPart,
    take: Callable[[bytes], None],
    *,
    resolver: Resolve = resolve,
) -> Head:
    """Fetch one address.

    Args:
        address: http or https.
        part: limits and what is allowed.
        take: gets the body block by block; may raise `MediaError` to stop.
        resolver: name to addresses.

    Raises:
        MediaError: refused, not found, unreachable or too slow, saying which.
    """
    deadline = time.monotonic() + part.timeout_s
    for _ in range(part.redirects + 1):
        target = _checked(address, part)
        try:
            with _Hop(target, part, deadline, resolver) as hop:
                following = hop.ask()
                if not following:
                    hop.read(take)
                    return Head(hop.content_type, address)
        except TimeoutError:
            raise _too_slow(part) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            if time.monotonic() >= deadline:
                raise _too_slow(part) from None
            raise MediaError(
                "unreachable", f"the host does not answer as it should ({type(error).__name__})"
            ) from error
        try:
            address = urllib.parse.urljoin(address, following)
        except ValueError:
            raise MediaError("refused", "a redirect's address cannot be read") from None
    raise MediaError("refused", "too many redirects", limit=f"fetch.redirects = {part.redirects}")


class _Target(NamedTuple):
    secure: bool
    host: str
    port: int
    path: str
    authority: str


def _checked(address: str, part: FetchPart) -> _Target:
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError:
        raise MediaError("refused", "the address cannot be read") from None
    if parts.scheme not in {"http", "https"}:
        raise MediaError("refused", "a redirect leads away from http and https")
    if parts.username is not None or not parts.hostname:
        raise MediaError("refused", "the address has no host, or a user's name in it")
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    if port not in part.ports:
        raise MediaError(
            "refused", f"port {port} is not allowed", limit=f"fetch.ports = {list(part.ports)}"
        )
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    try:
        host = parts.hostname.encode("idna").decode("ascii")
    except UnicodeError:
        raise MediaError("refused", "the host's name cannot be read") from None
    shown = f"[{host}]" if ":" in host else host
    standard = port == (443 if secure else 80)
    return _Target(
        secure, host, port, f"{path}?{query}" if query else path,
        shown if standard else f"{shown}:{port}",
    )  # fmt: skip


class _Hop:
    """One request to one checked address."""

    def __init__(
        self, target: _Target, part: FetchPart, deadline: float, resolver: Resolve
    ) -> None:
        self._target = target
        self._part = part
        self._deadline = deadline
        self._socket = self._connect(resolver)
        # Headers that drip in byte by byte reset every time limit of a socket: so it is shut.
        self._watch = threading.Timer(max(0.0, deadline - time.monotonic()), self._shut)
        self._watch.daemon = True
        self._watch.start()
        self._response: http.client.HTTPResponse | None = None
        self.content_type = ""

    def _connect(self, resolver: Resolve) -> socket.socket:
        target, part = self._target, self._part
        try:
            addresses = resolver(target.host, target.port)
        except (OSError, UnicodeError):
            raise MediaError("unreachable", "the host's name has no address") from None
        # One private address among public ones is how checks are tricked: all must be allowed.
        if not addresses or not all(allowed(each, part.networks) for each in addresses):
            raise MediaError(
                "refused",
                "the host has an address that is not public",
                limit=f"fetch.networks = {list(part.networks)}",
            )
        patience = min(part.connect_timeout_s, self._left())
        plain = socket.create_connection((addresses[0], target.port), patience)
        if not target.secure:
            return plain
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def ask(self) -> str:
        """Send the request; the address that the answer points on to, empty where it is one."""
        target = self._target
        self._socket.settimeout(self._left())
        lines = (
            f"GET {target.path} HTTP/1.1",
            f"Host: {target.authority}",
            f"User-Agent: {_AGENT}",
            "Accept: image/*, video/*, audio/*",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        response = http.client.HTTPResponse(self._socket, method="GET")
        response.begin()
        self._response = response
        status = response.status
        if status in _REDIRECTS and (location := response.getheader("Location")):
            return location
        if status in {404, 410}:
            raise MediaError("not_found", f"the host says {status}")
        if status != 200:
            raise MediaError("unreachable", f"the host says {status}")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise MediaError("unreachable", "the host sends a compressed body nobody asked for")
        self.content_type = response.getheader("Content-Type", "")
        return ""

    def read(self, take: Callable[[bytes], None]) -> None:
        """Hand on the body."""
        response = self._response
        assert response is not None, "ask comes first"  # noqa: S101 - for the type checker
        promised = response.length
        got = 0
        while True:
            self._socket.settimeout(self._left())
            block = response.read1(_BLOCK)
            if not block:
                break
            got += len(block)
            take(block)
        if self._deadline <= time.monotonic():
            raise TimeoutError
        if promised is not None and got < promised:
            raise MediaError("unreachable", "the host closed before everything was sent")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        if self._response is not None:
            self._response.close()
        self._socket.close()


def _too_slow(part: FetchPart) -> MediaError:
    return MediaError(
        "timeout", "the host was too slow", limit=f"fetch.timeout_s = {part.timeout_s:g}"
    )
