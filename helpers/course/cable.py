"""A network cable between two computers that there are in a ``with`` block only.

    with cable() as (ann, bob):
        with bob:                        # whatever happens in here happens at bob's
            bpf.attach_xdp("bob", function)

Each end is a network namespace of its own, network_namespaces(7), and the cable is a pair of interfaces, veth(4). No
namespace has a name, and no process lives there to keep it: an open file does. So the kernel takes everything away when
the block ends, and also when this Python is killed in the middle of it: interfaces, addresses, queueing disciplines,
and what BPF programs were attached there.
"""

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

from helpers.collect.interrupts import DeferredInterrupt
from helpers.language import tr

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
HERE = "/proc/thread-self/ns/net"
NO_IPV6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
UP_SECONDS = 20
_libc = ctypes.CDLL(None, use_errno=True)


class End:
    """One end of a cable: inside ``with``, this thread and what it starts are there; blocks can be nested.

    Args:
        name: of the computer, and of its interface.
        number: the last of the bytes of both its addresses, 1 to 254.
        namespace: an open file of its network namespace.

    Attributes:
        name: of the computer, and of its interface.
        address: its IPv4 address, as text.
        mac: the hardware address of its interface, as text.
    """

    def __init__(self, name: str, number: int, namespace: BinaryIO) -> None:
        self.name, self.address, self.mac = name, f"10.0.0.{number}", f"02:00:00:00:00:{number:02x}"
        self._namespace = namespace
        self._before: list[tuple[BinaryIO, DeferredInterrupt]] = []

    def __enter__(self) -> Self:
        if self._namespace.closed:
            raise ValueError(tr("the cable of {name} is gone: its block has ended", name=self.name))
        interrupt = DeferredInterrupt(End.__enter__, End.__exit__)
        self._before.append((open(HERE, "rb"), interrupt))
        try:
            _go_to(self._namespace)
            interrupt.deliver()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        before, interrupt = self._before.pop()
        try:
            with before:
                _go_to(before)
        finally:
            interrupt.end()

    def __repr__(self) -> str:
        return tr("{name} ({address})", name=self.name, address=self.address)


class cable:
    """Two computers and a cable between them, in a ``with`` block: it gives both ends, see the head of this module.

    Nobody speaks unasked: IPv6 is off at both ends, and each knows the other's hardware address, so it need not ask by
    ARP. It needs root and the command ``ip`` of iproute2.

    Args:
        names: of the two computers, at most 15 bytes each.
    """

    def __init__(self, names: Sequence[str] = ("ann", "bob")) -> None:
        self._names = names
        self._namespaces: list[BinaryIO] = []

    def __enter__(self) -> tuple[End, End]:
        """Lay the cable.

        Returns:
            The two ends, their interfaces up.

        Raises:
            PermissionError: this is not root.
            FileNotFoundError: there is no command ``ip``.
            OSError: the kernel refused, or the interfaces did not come up in 20 seconds; the message says what.
        """
        self._interrupt = DeferredInterrupt(cable.__enter__, cable.__exit__)
        try:
            self._namespaces = [_new_namespace(), _new_namespace()]
            one, other = (End(name, i + 1, self._namespaces[i]) for i, name in enumerate(self._names))
            self._lay(one, other)
            self._interrupt.deliver()
        except BaseException:
            self._take_away()
            self._interrupt.end()
            raise
        return one, other

    def __exit__(self, *error: object) -> None:
        try:
            self._take_away()
        finally:
            self._interrupt.end()

    def _lay(self, one: End, other: End) -> None:
        there = f"/proc/{os.getpid()}/fd/{self._namespaces[1].fileno()}"
        made = (
            f"link add {one.name} address {one.mac} type veth peer name {other.name} address {other.mac} netns {there}"
        )
        for end in (one, other):
            with end:  # before there is an interface
                if NO_IPV6.exists():
                    NO_IPV6.write_text("1")
        for end, peer, *first in ((one, other, made), (other, one)):
            with end:
                _ip(
                    *first,
                    f"address add {end.address}/24 dev {end.name}",
                    f"link set {end.name} up",
                    f"neighbour add {peer.address} lladdr {peer.mac} dev {end.name} nud permanent",
                    "link set lo up",
                )
        for end in (one, other):
            with end:
                _wait_until_up(end.name)

    def _take_away(self) -> None:
        # Both interfaces go with one of them. Closing the files would be enough, but later, when the kernel has time.
        for namespace, name in zip(self._namespaces[:1], self._names):
            with open(HERE, "rb") as before:
                _go_to(namespace)
                try:
                    subprocess.run(["ip", "link", "delete", name], stderr=subprocess.DEVNULL)
                except FileNotFoundError:
                    pass  # then there was never a cable
                finally:
                    _go_to(before)
        for namespace in self._namespaces:
            namespace.close()


def _new_namespace() -> BinaryIO:
    """Return a new network namespace: as long as this file is open, it is there. unshare(2).

    Raises:
        OSError: the kernel refused.
    """
    with open(HERE, "rb") as before:
        if _libc.unshare(CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, tr("no network of one's own here: {why}", why=os.strerror(number)))
        try:
            return open(HERE, "rb")
        finally:
            _go_to(before)


def _go_to(namespace: BinaryIO) -> None:
    """Have this thread in a network namespace from now on: setns(2).

    Raises:
        OSError: the kernel refused.
    """
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, tr("cannot go to another network: {why}", why=os.strerror(number)))


def _ip(*lines: str) -> None:
    """Run lines of ip(8) in this thread's network namespace.

    Raises:
        OSError: one of them failed.
    """
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True)
    if done.returncode:
        raise OSError(tr("the cable could not be laid: {why}", why=done.stderr.strip()))


def _wait_until_up(interface: str) -> None:
    """Return when packets that are sent here go out; before that, the kernel throws them away.

    Raises:
        OSError: they never do.
    """
    deadline = time.monotonic() + UP_SECONDS
    while " state UP " not in subprocess.check_output(["ip", "link", "show", interface], text=True):
        if time.monotonic() > deadline:
            raise OSError(tr("the interface {name} does not come up", name=interface))
