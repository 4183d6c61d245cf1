"""Checks that the server can listen on its address."""

import errno
import socket

from app.errors import AddressUnusable


def check_address(host: str, port: int) -> int:
    """Check that a server can listen on an address; return its port, a free one for port 0.

    Raises:
        AddressUnusable: It cannot; the text states why and what to do.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        raise AddressUnusable(
            f"{host} is no address of this machine; choose another with --host, such as 127.0.0.1."
        ) from None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address[0], port, *address[2:]))
                port = probe.getsockname()[1]
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:  # a name such as localhost may have an address of IPv6, without any
                raise AddressUnusable(_words(error, host, port)) from None
    return port


def _words(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} of {host} is in use; stop what listens there, or choose another with --port."
        case errno.EACCES:
            return f"Port {port} is for privileged programs; choose another with --port, from 1024 on."
        case _:
            return f"{host} is no address of this machine; choose another with --host, such as 127.0.0.1."
