"""Which addresses deliveries may go to: public ones over https, and the networks of `GATEWAY_DELIVERY_ALLOW`.

The text of an address is judged when a subscription is made; what its name resolves to is judged at each attempt.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from app.errors import FieldError, InvalidArgument

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2000

_VISIBLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}")
_ALWAYS_LOOPBACK = re.compile(r"(.+\.)?localhost")
_LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))

_NEVER_PUBLIC: tuple[IpNetwork, ...] = (
    ipaddress.ip_network("100.64.0.0/10"),  # carrier-grade NAT; some clouds have their metadata there
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own services, behind an address that looks public
    ipaddress.ip_network("192.0.0.0/24"),  # Oracle's metadata, among others
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("::/96"),  # IPv4-compatible
    ipaddress.ip_network("::ffff:0:0:0/96"),  # IPv4-translated
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2001::/23"),  # Teredo, among others
    ipaddress.ip_network("fec0::/10"),
)
_EMBEDS_IPV4 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """Judges addresses.

    Attributes:
        allowed: Networks that may be reached although they are not public, over http too.
    """

    allowed: tuple[IpNetwork, ...] = ()

    def permits(self, address: str, *, scheme: str) -> bool:
        """Return whether a connection to a numeric address may be made."""
        try:
            ip = _plain(ipaddress.ip_address(address))
        except ValueError:
            return False
        if any(ip in network for network in self.allowed if network.version == ip.version):
            return True
        return scheme == "https" and _is_public(ip)

    def check_url(self, url: str) -> str:
        """Check an address that deliveries shall go to, as far as its text tells; return it.

        Raises:
            InvalidArgument: It is not http or https, not allowed, or ambiguous.
        """
        parts = _split(url)
        host = (parts.hostname or "").rstrip(".")
        ip = _literal(host)
        if ip is not None:
            if not self.permits(str(ip), scheme="https"):
                raise _refused("must not lead to a private, loopback, link-local or otherwise internal address")
            if not self.permits(str(ip), scheme=parts.scheme):
                raise _refused("must begin with https://")
        elif not _NAME.fullmatch(host):
            raise _refused("must name a host, in ASCII (international names as xn--…)")
        elif _ALWAYS_LOOPBACK.fullmatch(host) and not any(self.permits(str(ip), scheme="http") for ip in _LOOPBACK):
            raise _refused("must not lead to a private, loopback, link-local or otherwise internal address")
        elif parts.scheme == "http" and not self.allowed:
            raise _refused("must begin with https://")
        return url


def permitted(rules: DeliveryRules, addresses: Sequence[str], *, scheme: str) -> list[str]:
    """Keep the addresses of a name that a connection may be made to, in their order."""
    return [address for address in dict.fromkeys(addresses) if rules.permits(address, scheme=scheme)]


def _is_public(ip: IpAddress) -> bool:
    if not ip.is_global or ip.is_multicast:
        return False
    return not any(ip in network for network in _NEVER_PUBLIC if network.version == ip.version)


def _plain(ip: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _EMBEDS_IPV4:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        return inner or ip
    return ip


def _literal(host: str) -> IpAddress | None:
    """Read a host that is a number, in any of the ways that the resolver of the system would take for one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _NUMBERS.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        raise _refused("must name a host; its number is no address") from None


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST_URL:
        raise _refused(f"must have at most {LONGEST_URL} characters")
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise _refused("must consist of visible ASCII characters, without backslashes")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused("must be an absolute https:// address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _refused("must be an absolute https:// address")
    if parts.username is not None or parts.password is not None:
        raise _refused("must not hold a user name or password; deliveries are signed instead")
    if parts.fragment or url.endswith("#"):
        raise _refused("must not have a fragment (#…)")
    return parts


def _refused(detail: str) -> InvalidArgument:
    field = FieldError(pointer="/url", code="NOT_ALLOWED", detail=detail)
    return InvalidArgument("Deliveries cannot go to this address.", errors=(field,))
