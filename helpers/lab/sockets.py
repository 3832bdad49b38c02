"""A kernel's five channels as files, for a computer that several people use.

Anybody there can connect to a port of 127.0.0.1, and Jupyter's output channel asks nobody who they are. So the virtual
machine's ports lie in a network of this process's own, and a thread carries bytes between them and Unix sockets in a
directory that is closed to others: jupyter_client's transport "ipc". See user_namespaces(7), network_namespaces(7).
"""

import asyncio
import contextlib
import ctypes
import fcntl
import functools
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from . import LabError, cache

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def possible() -> bool:
    """Return whether the kernel lets us have a network of our own; many a container does not."""
    attempt = f"from {__name__} import leave_network; leave_network()"
    command = [sys.executable, "-c", attempt]
    return subprocess.run(command, cwd=cache.PROJECT, stderr=subprocess.DEVNULL).returncode == 0


def leave_network() -> None:
    """Move this process, and those it starts, into a network with nothing but a loopback; only before its first thread.

    Raises:
        LabError: the kernel does not let us; see unshare(2).
    """
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    # Root needs no user namespace, in which it would lose its hold on other people's files.
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if user else 0)):
        raise LabError(
            f"This computer gives a kernel no network of its own ({os.strerror(ctypes.get_errno())}).",
            "Ask whoever looks after it to allow user namespaces.",
        )
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def join(files: dict[str, int]) -> None:
    """Let Unix sockets lead to ports of 127.0.0.1, from now until this process ends."""
    threading.Thread(target=asyncio.run, args=[_serve(files)], daemon=True).start()


async def _serve(files: dict[str, int]) -> None:
    # This process ends while connections are open, and that is no news.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    for path, port in files.items():
        await asyncio.start_unix_server(functools.partial(_connect, port), path)
    await asyncio.Event().wait()


async def _connect(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        from_guest, to_guest = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    with contextlib.suppress(ConnectionError):
        await asyncio.gather(_carry(reader, to_guest), _carry(from_guest, writer))
    for end in (writer, to_guest):
        end.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    # The other direction may still have something to say.
    writer.write_eof()
