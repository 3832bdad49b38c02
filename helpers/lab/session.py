"""One use of the virtual machine, from thaw to end: as a notebook's kernel, or to run a command."""

import base64
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from . import LabError, cache, guest, image, sockets, template, vm

# What a learner may have set for the Python that runs the notebook, and a tester for the tests.
PASSED_ON = ("TZ", "JPY_SESSION_NAME", "COVERAGE_PROCESS_START", "REPEATS")


def suite() -> str:
    """Return the Debian release to run: $EBPF_LAB_SUITE, or the default."""
    return os.environ.get("EBPF_LAB_SUITE") or image.DEFAULT_SUITE


def thawed(parent: int, ports: dict[int, int] | None = None, **request: Any) -> vm.VM:
    """Return a thawed machine that has been told who it is for.

    Args:
        parent: The parent of this process (its PID), with which the machine ends.
        ports: Numbers of ports of 127.0.0.1, and of the ports of the guest that they lead to.
        **request: What is sent on to the guest: the *key* of a Jupyter connection, or the *command* to run.

    Raises:
        LabError: there is no sound template.
    """
    built = template.find(suite())
    if built is None:
        if not os.access(cache.directory(), os.W_OK):
            raise LabError(
                f"No virtual machine in {cache.directory()} suits this account and this QEMU.",
                "Ask who built it to run the same command again (for a class: sudo make classroom), and to add this "
                "account to the group kvm if theirs is in it.",
            )
        raise LabError("The lab's virtual machine is not built yet.", cache.in_terminal("make vm"))
    here, share = Path.cwd(), cache.notebook_dir()
    request |= {
        "directory": str(here if here.is_relative_to(share) else share),
        "environment": {"EBPF_LAB": "vm", **{name: os.environ[name] for name in PASSED_ON if name in os.environ}},
    }
    failed: LabError | None
    accelerator, failed = template.check(built)["accelerator"], None
    try:
        machine = template.thaw(built, share, **request)
    except LabError as error:
        if accelerator != "kvm" or isinstance(error, cache.Unusable):
            raise
        say(template.KVM_FAILED)
        built = template.build(suite(), "tcg", say)
        machine = template.thaw(built, share, **request, news=template.KVM_FAILED)
        failed = error
    try:
        if failed:
            template.distrust_kvm(failed)
        stop_with_parent(machine, parent)
        # Not before the guest has its key: what a client hears that connects earlier is signed with the template's.
        machine.forward(ports or {})
    except BaseException:
        machine.kill()
        raise
    return machine


def say(text: str) -> None:
    """Print a sentence where a terminal, or Jupyter's log, shows it at once."""
    print(text, file=sys.stderr, flush=True)


def kernel(connection: dict[str, Any], parent: int) -> int:
    """Be the kernel of one notebook until it is shut down or *parent* ends.

    Args:
        connection: What Jupyter wrote into the connection file: a key and five ports on 127.0.0.1, or, where the
            transport is "ipc", five Unix sockets.
        parent: Jupyter's PID.

    Returns:
        The exit status for Jupyter.
    """
    files = connection["transport"] == "ipc"
    if files:
        sockets.leave_network()
    ports = {port if files else connection[name]: port for name, port in guest.PORTS.items()}
    with thawed(parent, ports, key=connection["key"]) as machine:
        if files:
            sockets.join({f"{connection['ip']}-{connection[name]}": port for name, port in guest.PORTS.items()})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        message = machine.receive()
        if message is None:
            print(f"The lab's virtual machine ended by itself. It said last:\n{machine.last_words()}", file=sys.stderr)
            return 1
        return int(message["exit"])


def stop_with_parent(machine: vm.VM, parent: int) -> None:
    """End the machine when the process that started this one, whose PID is *parent*, is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        machine.process.kill()

    threading.Thread(target=watch, daemon=True).start()


def run(command: list[str], timeout: float | None = None) -> int:
    """Run a command in the virtual machine, as root, and pass on what it prints.

    Returns:
        Its exit status, or 124 when it takes longer than *timeout* seconds, as timeout(1) does.

    Raises:
        LabError: the machine cannot be thawed, or has ended.
    """
    parent = os.getppid()
    with thawed(parent, command=command) as machine:
        clock = threading.Timer(timeout, machine.process.kill) if timeout else None
        if clock:
            clock.daemon = True
            clock.start()
        while message := machine.receive():
            if "exit" in message:
                return int(message["exit"])
            for name, data in message.items():
                stream = getattr(sys, name).buffer
                stream.write(base64.b64decode(data))
                stream.flush()
        if clock and clock.finished.is_set():
            print(f"Stopped after {timeout:g} s.", file=sys.stderr)
            return 124
        if os.getppid() != parent:
            raise LabError("The command was ended, as the process that started it is gone.", "Keep the terminal open.")
        raise LabError(f"The virtual machine ended by itself. It said last:\n{machine.last_words()}\n", "Run it again.")
