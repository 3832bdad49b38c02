"""A virtual machine frozen with a warm Jupyter kernel inside, from which every notebook thaws its own.

QEMU calls this VM templating: the guest's memory is a file that the frozen machine wrote and that each thawed one maps
privately, so that clones share what they do not change; the devices are a migration stream with the capability
x-ignore-shared.

KVM is not trusted: /dev/kvm can open and still run no guest. A template made with it counts only after a trial, and
when a thaw fails with it all the same, this kernel and this QEMU use software emulation from then on.
"""

import base64
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import LabError, cache, image, vm
from .building import Changed, Say, building
from .vm import Message

AGENT = Path(__file__).with_name("guest.py")
UNUSED_FOR = 14 * 24 * 3600  # seconds after which prune() removes what nothing has used

# How long a guest may take (seconds) to say its first word, and from there until it is warm.
BOOT = {"kvm": (20, 120), "tcg": (180, 600)}
FIRST_BOOT = {"kvm": "the VM's first boot, with KVM (about 15 s)", "tcg": "the VM's first boot (about 60 s)"}
KVM_FAILED = (
    "KVM (/dev/kvm) does not run the lab's virtual machine here: software emulation, which is slower, takes its place."
)

# What a machine that was made with KVM has to do before it counts: exit status 0 when a kernel probe has fired.
TRIAL = """
import os, sys
from bcc import BPF
bpf = BPF(text="BPF_ARRAY(fired, u64, 1); int on_sync(void *ctx) { fired.atomic_increment(0); return 0; }")
bpf.attach_kprobe(event=bpf.get_syscall_fnname("sync"), fn_name="on_sync")
os.sync()
sys.exit(bpf["fired"][0].value == 0)
"""


def location(suite: str, accelerator: str) -> Path | None:
    """Return where the template is or will be, or None when there is no image to make it from."""
    disk = image.target(suite)
    if not disk.exists():
        return None
    started = [vm.qemu_arguments("disk", "agent", accelerator, "ram", thaw, "share", 0, 1) for thaw in (False, True)]
    # The guest sees the CPU; and a home directory may be on the network.
    made_of = cache.key(disk.name, vm.qemu_version(), json.dumps(started), AGENT, cpu() if accelerator == "kvm" else "")
    return here_or_own(f"template-{suite}-{accelerator}-{made_of}")


def here_or_own(name: str) -> Path:
    """Return where something is or will be: in the cache directory, or in our own where that is another's."""
    shared = cache.directory() / name
    return shared if shared.exists() else cache.own() / name


def ensure(suite: str = image.DEFAULT_SUITE, say: Say = print) -> Path:
    """Return the template that thaws quickest on this machine, built if it is missing.

    KVM is used where a trial has shown that kernel probes fire with it, software emulation elsewhere.

    Raises:
        LabError: it cannot be built.
        Unusable: neither could anything else.
    """
    image.ensure(suite, say)
    why = None
    if usable_kvm():
        try:
            return build(suite, "kvm", say)
        except cache.Unusable:
            raise
        except LabError as error:
            why = error
        say(KVM_FAILED)
    built = build(suite, "tcg", say)
    if why:
        # Only now: something else might have kept us from building either.
        distrust_kvm(why)
    return built


def distrust_kvm(why: LabError) -> None:
    """Never try KVM again on this kernel and this QEMU."""
    kvm_verdict().write_text(str(why))


def find(suite: str = image.DEFAULT_SUITE) -> Path | None:
    """Return the template to thaw, or None when it has to be built first."""
    for accelerator in ["kvm", "tcg"] if usable_kvm() else ["tcg"]:
        built = location(suite, accelerator)
        if built and built.exists():
            return built
    return None


def cpu() -> str:
    """Return what Linux says of this machine's first CPU: its model and its features; see proc_cpuinfo(5)."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def kvm_opens() -> bool:
    """Return whether this user may open /dev/kvm, and the guest's processor is this machine's."""
    return platform.machine() == "x86_64" and os.access("/dev/kvm", os.R_OK | os.W_OK)


def kvm_verdict() -> Path:
    """Return the file that says why /dev/kvm does not run a guest on this kernel; there is none if it does."""
    return here_or_own(f"kvm-fails-{cache.key(vm.qemu_version(), os.uname().release, os.uname().nodename)}")


def usable_kvm() -> bool:
    """Return whether KVM is to be tried."""
    return kvm_opens() and not kvm_verdict().exists()


def build(suite: str, accelerator: str, say: Say) -> Path:
    """Return a template, built if it is missing.

    Raises:
        LabError: the guest does not start, or, with KVM, no kernel probe fires in it.
        Changed: the course does so meanwhile.
    """
    disk, target = image.target(suite), location(suite, accelerator)
    if target is None:
        raise Changed()
    if target.exists():
        return target
    prune(keep=[target, disk])
    with building(target, say) as scratch:
        if scratch:
            say(FIRST_BOOT[accelerator])
            shutil.copy(AGENT, scratch / "guest.py")
            freeze(scratch, disk, accelerator)
            if accelerator == "kvm":
                try_out(scratch)
            now = location(suite, accelerator)
            if now is None or now.name != target.name:
                raise Changed()
    return target


def freeze(directory: Path, disk: Path, accelerator: str) -> None:
    """Boot a guest, wait until it is warm, and write its memory and devices to *directory*."""
    ram, state = directory / "ram", directory / "state"
    # Whoever has given a thaw a later deadline needs one here in the same measure.
    first_word, warm = (seconds * vm.DEADLINE / 60 for seconds in BOOT[accelerator])
    with vm.VM(disk, directory / "guest.py", accelerator, ram) as machine:
        expect(machine, "hello", first_word)
        expect(machine, "ready", warm)
        machine.freeze(state)
    (directory / "made.json").write_text(
        json.dumps(
            {"accelerator": accelerator, "image": disk.name, "state": cache.key(state), "ram": ram.stat().st_size}
        )
    )


def try_out(template: Path) -> None:
    """Thaw a template and have a kernel probe fire in it.

    Raises:
        LabError: none does.
    """
    command = ["sh", "-c", 'exec python -c "$0" > /dev/null 2>&1', TRIAL]
    with thaw(template, template, directory="/", environment={}, command=command) as machine:
        if expect(machine, "exit", vm.DEADLINE)["exit"]:
            raise LabError("The VM started, and no kernel probe fired in it.", vm.BUILD_AGAIN)


def expect(machine: vm.VM, word: str, seconds: float) -> Message:
    """Return the guest's next message, which has *word* in it.

    Raises:
        LabError: it says something else, ends, or says nothing for so many seconds.
    """
    try:
        message = machine.receive(timeout=seconds) or {}
    except TimeoutError:
        message = {"nothing": f"for {seconds} s"}
    if word not in message:
        reason = message.get("failure") or machine.last_words() or message
        raise LabError(f"The VM did not start. It said last:\n{reason}\n", vm.BUILD_AGAIN)
    return message


def check(template: Path) -> Message:
    """Return what a template was made of: its accelerator, its image, and what tells that it is whole.

    Raises:
        LabError: it is damaged.
    """
    try:
        made: Message = json.loads((template / "made.json").read_text())
        whole = made["state"] == cache.key(template / "state") and made["ram"] == (template / "ram").stat().st_size
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        raise LabError(f"The lab's template {template.name} is damaged.", vm.BUILD_AGAIN)
    return made


def thaw(template: Path, share: Path, **request: Any) -> vm.VM:
    """Return a machine made from a template, which has been told who it is for and has begun.

    Args:
        template: The directory of the template.
        share: The directory that the machine mounts, under the same path.
        **request: What is sent on to the guest: the *directory* to work in, the *environment*, and the *key* of a
            Jupyter connection or the *command* to run.

    Raises:
        LabError: the template is damaged or does not start.
    """
    made = check(template)
    disk = cache.directory() / made["image"]
    for used in (template, disk, sys.prefix):
        # Where several people share a cache, only its owner keeps count.
        with contextlib.suppress(OSError):
            os.utime(used)
    machine = vm.VM(disk, template / "guest.py", made["accelerator"], memory(template), template / "state", share)
    try:
        seed = base64.b64encode(os.urandom(64)).decode()
        machine.send(time_ns=time.time_ns(), seed=seed, project=str(share), **request)
        try:
            expect(machine, "started", vm.DEADLINE)
        except LabError as error:
            raise LabError(f"The lab's template {template.name} does not start.", vm.BUILD_AGAIN) from error
    except BaseException:
        machine.kill()
        raise
    return machine


def memory(template: Path) -> Path:
    """Return a file with the frozen guest's memory that QEMU can open: the template's, or a copy of our own."""
    ram = template / "ram"
    if vm.reads_without_writing() or os.access(ram, os.W_OK):
        return ram
    copy = cache.own() / f"memory-{template.name}-{ram.stat().st_mtime_ns}"
    if not copy.exists():
        with building(copy, print) as scratch:
            if scratch:
                for old in copy.parent.glob("memory-template-*[0-9]"):
                    shutil.rmtree(old, ignore_errors=True)
                copy_memory(ram, scratch / "ram")
    return copy / "ram"


def copy_memory(ram: Path, copy: Path) -> None:
    """Copy a memory file with its holes.

    Raises:
        Unusable: there is no room.
    """
    try:
        command: list[str | Path] = ["setpriv", "--pdeathsig", "KILL", "cp", "--sparse=always", ram, copy]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()
        raise cache.Unusable(f"The lab's template cannot be copied: {said}.", "Make room for 1 GB there.") from error


def prune(keep: list[Path]) -> None:
    """Remove images, templates and Python environments that nothing has used for two weeks."""
    for path in cache.ours(cache.directory()):
        is_one = path.name.startswith(("image-", "template-", "python-"))
        if is_one and path not in [*keep, Path(sys.prefix)] and time.time() - path.stat().st_mtime > UNUSED_FOR:
            shutil.rmtree(path, ignore_errors=True)
