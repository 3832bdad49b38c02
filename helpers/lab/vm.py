"""One QEMU process: started as a child that dies with its parent, talked to over a wire of JSON lines.

The wire is a socket pair whose other end is a virtio-serial port in the guest (/dev/virtio-ports/wire).
"""

import functools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Self

from . import LabError, cache

MEMORY = 1024  # MiB of guest RAM
# Seconds that QEMU may take to answer, and a thawed machine to say that it runs; they take one or two.
DEADLINE = float(os.environ.get("EBPF_LAB_DEADLINE") or 60)
CPUS = 2  # two, so that a program can be seen running on several CPUs at once
# QEMU keeps the code it has translated up to this size (MiB); its default takes 1 GiB, half of what Binder gives.
TRANSLATION_CACHE = 256
ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    # Nehalem is x86-64-v2, the least that NumPy asks for. The wider vectors of later models are slow to emulate.
    "tcg": ["-accel", f"tcg,thread={{threads}},tb-size={TRANSLATION_CACHE}", "-cpu", "Nehalem,-vme"],
}
# A machine can only be thawed into the hardware it was frozen with.
HARDWARE = [
    *["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    *["-machine", "q35,memory-backend=ram,hpet=off,vmport=off", "-smp", str(CPUS), "-m", f"{MEMORY}M"],
    *["-device", "virtio-blk,drive=disk", "-device", "virtio-net,netdev=net,romfile="],
    *["-device", "virtio-9p-pci,fsdev=project,mount_tag=project"],
    *["-device", "virtio-serial", "-device", "virtserialport,chardev=wire,name=wire"],
    *["-serial", "chardev:console"],
]
# Outside of its environment Debian has no command python, and no pip by which the lock is read.
BUILD_AGAIN = "Build the lab's template again. " + cache.in_terminal(
    f"{shlex.quote(sys.executable)} -m helpers.lab build --again"
)
# Linux panics when its check of the timer, a few milliseconds of waiting, finds a busy machine emulating it too slowly.
KERNEL_COMMAND_LINE = (
    "root=/dev/vda ro rootfstype=ext4 fastboot init=/sbin/lab-init console=ttyS0 loglevel=4 panic=-1 net.ifnames=0 "
    "mitigations=off tsc=reliable random.trust_cpu=on audit=0 no_timer_check"
)


File = str | Path
Message = dict[str, Any]  # a line of JSON on the wire


def qemu() -> str:
    """Return the path of QEMU.

    Raises:
        LabError: it is missing.
    """
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        raise LabError("QEMU is missing.", "Install it: sudo apt-get install qemu-system-x86")
    return path


@functools.cache
def qemu_version() -> str:
    """Return the first line that QEMU prints about itself."""
    return subprocess.run([qemu(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def qemu_is_at_least(*version: int) -> bool:
    """Return whether QEMU's version is this one, such as 8, 1, or newer."""
    return tuple(map(int, re.findall(r"\d+", qemu_version()))) >= version


def reads_without_writing() -> bool:
    """Return whether QEMU can open a guest's memory for reading only; before 8.2 it must be allowed to write it."""
    return qemu_is_at_least(8, 2)


def threads() -> str:
    """Return how QEMU emulates the guest's CPUs: "multi", side by side, or "single", in turn.

    Before 8.1 a CPU may go on with the breakpoint by which the kernel changes its own code, when another CPU has taken
    it away while it was translated: a kprobe detached while it fires then ends in a call to address 0.
    """
    return "multi" if qemu_is_at_least(8, 1) else "single"


def qemu_arguments(
    image: File, agent: File, accelerator: str, ram: File, thaw: bool, share: File, wire: int, monitor: int
) -> list[str]:
    """Return QEMU's arguments for a guest that is to be booted or thawed; see `VM` for the paths.

    *wire* and *monitor* are the file descriptors at which QEMU finds its ends of the two.
    """
    memory = f"memory-backend-file,id=ram,size={MEMORY}M,mem-path={option(ram)},share={'off' if thaw else 'on'}"
    if thaw and reads_without_writing():
        memory += ",readonly=on,rom=off"
    return [
        *[argument.format(threads=threads()) for argument in ACCELERATORS[accelerator]],
        *["-object", memory],
        *["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"],
        *["-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd", "-append", KERNEL_COMMAND_LINE],
        *["-fw_cfg", f"name=opt/first-ebpf/guest.py,file={option(agent)}"],
        # What a guest writes goes to a temporary file that QEMU unlinks at once; the image stays as it was built.
        *["-drive", f"if=none,id=disk,format=qcow2,snapshot=on,file={option(image)}/disk.qcow2"],
        *["-netdev", "user,id=net,restrict=on,ipv6=off"],
        *["-fsdev", f"local,id=project,security_model=none,multidevs=remap,path={option(share)}"],
        *["-chardev", f"socket,id=wire,fd={wire}"],
        *["-chardev", "stdio,id=console,signal=off"],
        *["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"],
        *HARDWARE,
        *(["-incoming", "defer"] if thaw else []),
    ]


def option(path: File) -> str:
    """Return a path as a part of one of QEMU's options, where a comma begins the next part unless it is doubled."""
    return str(path).replace(",", ",,")


class VM:
    """A running guest.

    Args:
        image: The directory of the disk, the kernel and the initrd.
        agent: The Python file that process 1 runs.
        accelerator: "kvm" or "tcg".
        ram: The file of the guest's memory. A VM that is to be frozen writes it; a thawed one reads it and keeps its
            changes to itself.
        state: The file with the devices of a frozen VM. With it the VM is thawed, without it booted.
        share: The directory that the guest can mount under the tag "project", over 9p.
    """

    def __init__(
        self,
        image: File,
        agent: File,
        accelerator: str,
        ram: File,
        state: File | None = None,
        share: File | None = None,
    ) -> None:
        self.wire, wire_end = socket.socketpair()
        self.monitor, monitor_end = socket.socketpair()
        self.monitor.settimeout(DEADLINE)
        inherited: list[socket.socket | BinaryIO] = [wire_end, monitor_end, *([open(state, "rb")] if state else [])]
        numbers = [end.fileno() for end in inherited]
        self.console: deque[str] = deque(maxlen=100)
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", qemu()]
            + qemu_arguments(image, agent, accelerator, ram, bool(state), share or image, *numbers[:2]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=numbers,
            env={**os.environ, "TMPDIR": str(cache.own())},
            # Ctrl-C in the terminal is for us, who end it: a QEMU ended by that would look like one that cannot run.
            process_group=0,
        )
        self.lines, self.replies = self.wire.makefile("rb"), self.monitor.makefile("rb")
        self.reader = threading.Thread(target=self._read_console, daemon=True)
        self.reader.start()
        try:
            for end in inherited:
                end.close()
            if state:
                self._thaw(f"fd:{numbers[-1]}")
        except BaseException:
            self.kill()
            raise

    def _thaw(self, uri: str) -> None:
        self.command("qmp_capabilities")
        self.ignore_shared_memory()
        self.command("migrate-incoming", uri=uri)
        self._await("query-status", lambda status: status != "inmigrate")
        self.command("cont")

    def _await(self, question: str, enough: Callable[[str], bool]) -> str:
        """Return the status that the monitor tells as soon as it is *enough*.

        Raises:
            LabError: it is not before the deadline.
        """
        deadline = time.monotonic() + DEADLINE
        while not enough(status := self.command(question).get("status", "")):
            if time.monotonic() > deadline:
                raise LabError(f"QEMU still says {status!r} to {question} after {DEADLINE:g} s.", BUILD_AGAIN)
            time.sleep(0.005)
        return str(status)

    def _read_console(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.console.append(line.decode(errors="replace").rstrip())

    def send(self, **message: Any) -> None:
        """Tell the guest something.

        Raises:
            LabError: it is gone.
        """
        try:
            self.wire.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def receive(self, timeout: float | None = None) -> Message | None:
        """Return the guest's next message, or None when the guest is gone.

        Raises:
            TimeoutError: it says nothing for so many seconds.
        """
        self.wire.settimeout(timeout)
        try:
            line = self.lines.readline()
        except ConnectionResetError:
            line = b""
        # It may end in the middle of a line.
        return json.loads(line) if line.endswith(b"\n") else None

    def command(self, execute: str, descriptor: int | None = None, **arguments: object) -> Any:
        """Return what QEMU's monitor answers to one command; see the QEMU QMP Reference Manual.

        Args:
            execute: The command.
            descriptor: The file descriptor that goes with it.
            **arguments: The command's arguments.

        Raises:
            LabError: it fails, or is not answered before the deadline.
        """
        request = json.dumps({"execute": execute, "arguments": arguments}).encode()
        try:
            socket.send_fds(self.monitor, [request], [] if descriptor is None else [descriptor])
            while line := self.replies.readline():
                reply = json.loads(line)
                if "error" in reply:
                    raise LabError(f"QEMU refused {execute}: {reply['error']['desc']}.", BUILD_AGAIN)
                if "return" in reply:
                    return reply["return"]
        except TimeoutError:
            raise LabError(f"QEMU did not answer {execute} within {DEADLINE:g} s.", "Try again.") from None
        except (BrokenPipeError, ConnectionResetError):
            pass
        raise self._ended()

    def _ended(self) -> LabError:
        return LabError(f"QEMU ended. It said last:\n{self.last_words()}\n", BUILD_AGAIN)

    def forward(self, ports: dict[int, int]) -> None:
        """Let ports of 127.0.0.1 lead to ports of the guest.

        Raises:
            LabError: another process has one of them.
        """
        for port, guest in ports.items():
            line: Message = {"command-line": f"hostfwd_add net tcp:127.0.0.1:{port}-:{guest}"}
            said = self.command("human-monitor-command", **line)
            if said.strip():
                raise LabError(f"Port {port} is taken by another process.", "Start the kernel again.")

    def freeze(self, state: File) -> None:
        """Stop the guest and write its devices to the file *state*; its memory is in the RAM file already.

        Raises:
            LabError: QEMU cannot.
        """
        self.command("qmp_capabilities")
        self.command("stop")
        self.ignore_shared_memory()
        with open(state, "wb") as file:
            # QEMU's sandbox lets it start no helper program, so it is given the open file.
            self.command("getfd", file.fileno(), fdname="state")
            self.command("migrate", uri="fd:state")
        if self._await("query-migrate", ("completed", "failed", "cancelled").__contains__) != "completed":
            raise LabError("QEMU could not freeze the VM.", BUILD_AGAIN)

    def ignore_shared_memory(self) -> None:
        """Leave the memory, which is a file already, out of the migration stream."""
        self.command("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def last_words(self) -> str:
        """Return what QEMU and the guest's console printed last."""
        self.reader.join(timeout=1)
        return "\n".join(self.console)

    def kill(self) -> None:
        """End QEMU."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for end in (self.lines, self.wire, self.replies, self.monitor):
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
