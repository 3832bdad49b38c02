"""Packets by the million, and BPF programs in the way of them; all of it in the network of the calling thread."""

import ctypes
import os
import socket
import struct
from typing import Any, TypeAlias

from helpers.course.cable import End
from helpers.language import tr

Function: TypeAlias = Any  # what BCC's load_func() returns

# <linux/bpf.h>, <linux/netlink.h>, <linux/rtnetlink.h>, <linux/pkt_cls.h>, <linux/pkt_sched.h>
SYS_BPF, BPF_PROG_TEST_RUN, LIVE_FRAMES = {"x86_64": 321, "aarch64": 280}, 10, 2
RTM_NEWTFILTER, REQUEST, ACK, EXCLUSIVE, CREATE = 44, 0x1, 0x4, 0x200, 0x400
TCA_KIND, TCA_OPTIONS, TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS, DIRECT_ACTION = 1, 2, 6, 7, 8, 1
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800

_libc = ctypes.CDLL(None, use_errno=True)


class _TestRun(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_TEST_RUN takes."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("prog_fd", "retval", "data_size_in", "data_size_out")),
        *((name, ctypes.c_uint64) for name in ("data_in", "data_out")),
        *((name, ctypes.c_uint32) for name in ("repeat", "duration", "ctx_size_in", "ctx_size_out")),
        *((name, ctypes.c_uint64) for name in ("ctx_in", "ctx_out")),
        *((name, ctypes.c_uint32) for name in ("flags", "cpu", "batch_size")),
    ]


def udp_frame(sender: End, receiver: End, port: int = 7, data: bytes = b"tea") -> bytes:
    """Return a UDP packet as it is on the cable: 14 bytes of Ethernet, 20 of IP, 8 of UDP, and the data.

    Args:
        sender: whose addresses it comes from.
        receiver: whose addresses it goes to.
        port: the UDP port that it goes to.
        data: what it carries; at most 1,472 bytes.

    Returns:
        The packet, of ``42 + len(data)`` bytes; RFC 894, 791 and 768. It has no UDP checksum, which IPv4 allows.
    """
    macs = [bytes.fromhex(end.mac.replace(":", "")) for end in (receiver, sender)]
    addresses = [socket.inet_aton(end.address) for end in (sender, receiver)]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 0, 0, 64, socket.IPPROTO_UDP, 0, *addresses)
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", 0xFFFF - total) + ip[12:]
    return b"".join(macs) + struct.pack("!H", ETH_P_IP) + ip + struct.pack("!4H", port, port, 8 + len(data), 0) + data


def transmit(function: Function, frame: bytes, times: int, interface: str) -> None:
    """Have the kernel run an XDP function for a packet again and again, as if it had come in at an interface.

    What the function says is done: ``XDP_TX`` sends the packet out there. Between veth interfaces the other one needs
    an XDP function of its own, else what is sent is thrown away. It is bpf(2) BPF_PROG_TEST_RUN with
    BPF_F_TEST_XDP_LIVE_FRAMES; kernel documentation, bpf/bpf_prog_run.

    Args:
        function: loaded by ``bpf.load_func(name, BPF.XDP)``.
        frame: the packet, from its Ethernet header on.
        times: number of packets.
        interface: the name of an interface.

    Raises:
        OSError: the kernel refused; the message says why.
        InterruptedError: a signal came; how many were sent, the function may have counted.
    """
    packet = ctypes.create_string_buffer(frame, len(frame))
    # struct xdp_md: where the packet begins and ends, its metadata, the interface it came from, queue, interface to.
    packed = struct.pack("6I", 0, len(frame), 0, socket.if_nametoindex(interface), 0, 0)
    context = ctypes.create_string_buffer(packed, len(packed))
    run = _TestRun(
        prog_fd=function.fd,
        data_size_in=len(frame),
        data_in=ctypes.addressof(packet),
        repeat=times,
        ctx_size_in=len(context),
        ctx_in=ctypes.addressof(context),
        flags=LIVE_FRAMES,
    )
    if _libc.syscall(SYS_BPF[os.uname().machine], BPF_PROG_TEST_RUN, ctypes.byref(run), ctypes.sizeof(run)):
        number = ctypes.get_errno()
        why = os.strerror(number)
        raise OSError(number, tr("the packets could not be sent (it needs Linux 5.18 or later): {why}", why=why))


def attach_tc(function: Function, interface: str, direction: str = "ingress") -> None:
    """Attach a function to what an interface receives or sends, as ``tc filter add … bpf direct-action`` does.

    The interface must have the queueing discipline ``clsact``. It stays attached until that, or the interface, is
    deleted. It is rtnetlink(7) RTM_NEWTFILTER; what tc-bpf(8) reads from a file is here loaded already.

    Args:
        function: loaded by ``bpf.load_func(name, BPF.SCHED_CLS)``.
        interface: the name of an interface.
        direction: "ingress" or "egress".

    Raises:
        ValueError: there is no such direction.
        OSError: the kernel refused.
    """
    if direction not in PARENTS:
        raise ValueError(tr("direction must be ingress or egress, not {direction!r}", direction=direction))
    options = _attribute(TCA_BPF_FD, struct.pack("I", function.fd))
    options += _attribute(TCA_BPF_NAME, function.name + b"\0") + _attribute(
        TCA_BPF_FLAGS, struct.pack("I", DIRECT_ACTION)
    )
    first_priority = 1 << 16 | socket.htons(ETH_P_ALL)
    body = struct.pack("BxxxiIII", 0, socket.if_nametoindex(interface), 0, PARENTS[direction], first_priority)
    body += _attribute(TCA_KIND, b"bpf\0") + _attribute(TCA_OPTIONS, options)
    head = struct.pack("IHHII", 16 + len(body), RTM_NEWTFILTER, REQUEST | ACK | EXCLUSIVE | CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(head + body)
        [error] = struct.unpack_from("i", kernel.recv(65536), 16)
    if error:
        values = {"interface": interface, "why": os.strerror(-error)}
        raise OSError(-error, tr("tc refused it at {interface} (has it a clsact?): {why}", **values))


def _attribute(number: int, data: bytes) -> bytes:
    """Return an attribute of netlink(7), padded to a multiple of 4 bytes."""
    return struct.pack("HH", 4 + len(data), number) + data + bytes(-len(data) % 4)
