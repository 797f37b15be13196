"""Sockets to listen on; what cannot be bound is told with the option to change and the way out."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Literal, Self

import msgspec

from ...errors import OptionError

Kind = Literal["stream", "datagram"]

_ANY_V6, _ANY_V4 = "::", "0.0.0.0"
_FIRST_FREE_PORT = 1024
_LAST_PORT = 65_535
_LONGEST_PATH = 107


class Address(msgspec.Struct, frozen=True):
    """A port of the machine; without a host that of all its addresses."""

    host: str | None
    port: int

    def __str__(self) -> str:
        return f"{self.host or '*'}:{self.port}"


class UnixPath(msgspec.Struct, frozen=True):
    """A socket in the file system, `option` being what names it; without a mode the umask decides who may write."""

    path: str
    mode: int | None = None
    option: str = "path"

    def __str__(self) -> str:
        return self.path


Place = Address | UnixPath


class FileMode(int):
    """Permissions of a file as octal digits."""

    shown_as = "octal digits"

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            mode = int(text.strip(), 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise ValueError(f"{text!r} are no permissions; write octal digits such as 0644")
        return cls(mode)


def check_place(place: Place) -> None:
    """Raise `OptionError` if nobody can listen there on any machine."""
    if isinstance(place, UnixPath):
        if len(os.fsencode(place.path)) > _LONGEST_PATH:
            raise OptionError(place.option, f"is longer than {_LONGEST_PATH} bytes", "choose a shorter path")
    elif not 0 <= place.port <= _LAST_PORT:
        raise OptionError("port", f"{place.port} is not a port", f"choose one from 1 to {_LAST_PORT}")


def bind(
    place: Place, kind: Kind, *, backlog: int = 128, share_port: bool = False, receive_buffer: int = 0
) -> socket.socket:
    """A bound socket that does not block, listening if it is one for streams; raises `OptionError`."""
    check_place(place)
    bound = _bind_unix(place, kind) if isinstance(place, UnixPath) else _bind_address(place, kind, share_port)
    bound.setblocking(False)
    try:
        if receive_buffer > 0:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if kind == "stream":
            bound.listen(max(1, backlog))
    except OSError as error:
        bound.close()
        raise _refused(place, error) from error
    return bound


def file_of(place: Place) -> tuple[int, int] | None:
    """Device and inode of the file of a unix socket, by which it is known later; None if there is none."""
    if not isinstance(place, UnixPath):
        return None
    try:
        found = os.lstat(place.path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def unlink_socket(place: Place, file: tuple[int, int] | None) -> None:
    """Remove the file of a unix socket, unless another process has put its own there."""
    if file is not None and isinstance(place, UnixPath) and file_of(place) == file:
        Path(place.path).unlink(missing_ok=True)


def shown_address(address: object) -> str:
    """The `ip:port` of a peer, IPv4 also where it came through an IPv6 socket; empty for a unix socket."""
    if not isinstance(address, tuple) or len(address) < 2:
        return ""
    host = str(address[0]).removeprefix("::ffff:")
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def is_reachable(bound: socket.socket) -> bool:
    """Whether other machines may get through to a socket: it is bound to an address that is not of this one alone."""
    if bound.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    return not (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _type(kind: Kind) -> socket.SocketKind:
    return socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM


def _bind_address(place: Address, kind: Kind, share_port: bool) -> socket.socket:
    if place.host is None:
        try:
            return _bound(socket.AF_INET6, (_ANY_V6, place.port), kind, share_port)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise _refused(place, error) from error
        host = _ANY_V4  # this machine has no IPv6
    else:
        host = place.host.strip().removeprefix("[").removesuffix("]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, place.port, type=_type(kind), flags=socket.AI_PASSIVE)[0]
        return _bound(family, address, kind, share_port)
    except OSError as error:
        raise _refused(place, error) from error


def _bound(family: int, address: tuple[object, ...], kind: Kind, share_port: bool) -> socket.socket:
    found = socket.socket(family, _type(kind))
    try:
        if kind == "stream":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != _ANY_V6))
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found


def _bind_unix(place: UnixPath, kind: Kind) -> socket.socket:
    try:
        if stat.S_ISSOCK(os.lstat(place.path).st_mode):
            os.unlink(place.path)  # left by an earlier run
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(place, error) from error
    found = socket.socket(socket.AF_UNIX, _type(kind))
    try:
        found.bind(place.path)
        if place.mode is not None:
            os.chmod(place.path, place.mode)
    except OSError as error:
        found.close()
        raise _refused(place, error) from error
    return found


def _refused(place: Place, error: OSError) -> OptionError:
    """What the configuration must mend."""
    words = error.strerror or str(error)
    if isinstance(place, UnixPath):
        remedy = "choose a path in a folder that exists and may be written"
        if error.errno == errno.EADDRINUSE:
            words, remedy = "there is a file that is no socket", "remove it, or choose another path"
        return OptionError(place.option, f"{place.path}: cannot listen there: {words}", remedy)
    if error.errno == errno.EADDRINUSE:
        remedy = "end what listens there, or choose another port"
        return OptionError("port", f"{place} is already in use", remedy)
    if error.errno == errno.EACCES and place.port < _FIRST_FREE_PORT:
        remedy = f"choose a port from {_FIRST_FREE_PORT}, or give the process CAP_NET_BIND_SERVICE"
        return OptionError("port", f"{place}: ports below {_FIRST_FREE_PORT} are reserved", remedy)
    return OptionError("listen", f"{place}: cannot listen there: {words}", "use an address of this machine")
