"""A virtual machine frozen with a warm Jupyter kernel inside, from which every notebook thaws its own.

QEMU calls this VM templating: the guest's memory is a file that the frozen machine wrote and that each thawed one maps
privately, so that clones share what they do not change; the devices are a migration stream with x-ignore-shared.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from . import LabError, cache, image, vm

AGENT = Path(__file__).with_name("guest.py")
UNUSED_FOR = 14 * 24 * 3600  # seconds after which an image or a template that nothing has thawed may go

# How long a guest may take (seconds) to say its first word, and from there until it is warm.
PATIENCE = {"kvm": (20, 120), "tcg": (180, 600)}


def location(suite: str, accelerator: str) -> Path | None:
    """Return where the template is or will be, or None when there is no image to make it from."""
    name = image.target(suite)
    if not name.exists():
        return None
    hardware = " ".join([*vm.HARDWARE, *vm.ACCELERATORS[accelerator], vm.KERNEL_COMMAND_LINE])
    if accelerator == "kvm":
        hardware += cpu()  # which the guest sees; and a home directory may be on the network
    parts = name.name, vm.qemu_version(), hardware, AGENT
    return cache.directory() / f"template-{suite}-{accelerator}-{cache.key(*parts)}"


def ensure(suite: str = image.DEFAULT_SUITE, say=print) -> Path:
    """Return the template that thaws quickest on this machine, built if it is missing.

    KVM is used where a trial boot has shown that it runs a guest, software emulation elsewhere. Raises LabError.
    """
    image.ensure(suite, say)
    why = None
    if usable_kvm():
        try:
            return build(suite, "kvm", say)
        except cache.Unusable:
            raise
        except LabError as error:
            why = str(error)
        say("/dev/kvm opens but does not run a guest; software emulation is used")
    built = build(suite, "tcg", say)
    if why:
        # Only now: something else might have kept us from building either.
        kvm_verdict().write_text(why)
    return built


def find(suite: str = image.DEFAULT_SUITE) -> Path | None:
    """Return the template to thaw, or None when it has to be built first."""
    for accelerator in ["kvm", "tcg"] if usable_kvm() else ["tcg"]:
        place = location(suite, accelerator)
        if place and place.exists():
            return place
    return None


def cpu() -> str:
    """Return what Linux says of this machine's first CPU: its model and its features; see proc_cpuinfo(5)."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def kvm_opens() -> bool:
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def kvm_verdict() -> Path:
    """Return the file that says why /dev/kvm does not run a guest on this kernel; there is none if it does."""
    return cache.directory() / f"kvm-fails-{cache.key(vm.qemu_version(), os.uname().release, os.uname().nodename)}"


def usable_kvm() -> bool:
    return kvm_opens() and not kvm_verdict().exists()


def build(suite: str, accelerator: str, say) -> Path:
    target = location(suite, accelerator)
    if target.exists():
        return target
    prune(keep=[target, image.target(suite)])
    with cache.building(target, say) as scratch:
        if scratch:
            say({"kvm": "the VM's first boot, with KVM (about 15 s)", "tcg": "the VM's first boot (about 60 s)"}[accelerator])
            shutil.copy(AGENT, scratch / "guest.py")
            freeze(scratch, image.target(suite), accelerator)
    return target


def freeze(directory: Path, disk: Path, accelerator: str):
    """Boot a guest, wait until it is warm, and write its memory and devices to *directory*."""
    ram, state = directory / "ram", directory / "state"
    # Whoever has asked for more patience with a thaw (session.PATIENCE) needs it here in the same measure.
    slower = float(os.environ.get("EBPF_LAB_PATIENCE", 60)) / 60
    first_word, warm = (slower * seconds for seconds in PATIENCE[accelerator])
    with vm.VM(disk, directory / "guest.py", accelerator, ram) as machine:
        expect(machine, "hello", first_word)
        expect(machine, "ready", warm)
        machine.freeze(state)
    (directory / "made.json").write_text(
        json.dumps({"accelerator": accelerator, "image": disk.name, "state": cache.key(state), "ram": ram.stat().st_size})
    )


def expect(machine: vm.VM, word: str, seconds: float):
    """Wait for the guest to say *word*. Raises LabError when it says something else, ends, or says nothing."""
    try:
        message = machine.receive(timeout=seconds)
    except TimeoutError:
        message = {"nothing": f"for {seconds} s"}
    if not message or word not in message:
        reason = (message or {}).get("failure") or machine.last_words() or message
        raise LabError(f"The VM did not start. It said last:\n{reason}\n", vm.BUILD_AGAIN)


def check(template: Path) -> dict:
    """Return what a template was made of. Raises LabError when it is damaged."""
    try:
        made = json.loads((template / "made.json").read_text())
        whole = made["state"] == cache.key(template / "state") and made["ram"] == (template / "ram").stat().st_size
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        raise LabError(f"The lab's template {template.name} is damaged.", vm.BUILD_AGAIN)
    return made


def thaw(template: Path, share: Path) -> vm.VM:
    """Return a running machine made from a template. Raises LabError when the template is damaged."""
    made = check(template)
    disk = cache.directory() / made["image"]
    for used in (template, disk):
        # Where several people share a cache, only its owner keeps count.
        with contextlib.suppress(OSError):
            os.utime(used)
    return vm.VM(disk, template / "guest.py", made["accelerator"], memory(template), template / "state", share)


def memory(template: Path) -> Path:
    """Return a file with the frozen guest's memory that QEMU can open: the template's, or a copy of our own."""
    ram = template / "ram"
    if vm.reads_without_writing() or os.access(ram, os.W_OK):
        return ram
    copy = cache.own() / f"memory-{template.name}-{ram.stat().st_mtime_ns}"
    if not copy.exists():
        with cache.building(copy, print) as scratch:
            if scratch:
                for old in copy.parent.glob("memory-template-*[0-9]"):
                    shutil.rmtree(old, ignore_errors=True)
                copy_memory(ram, scratch / "ram")
    return copy / "ram"


def copy_memory(ram: Path, copy: Path):
    """Copy a memory file with its holes. Raises LabError when there is no room."""
    try:
        command = ["setpriv", "--pdeathsig", "KILL", "cp", "--sparse=always", ram, copy]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()
        raise LabError(f"The lab's template cannot be copied: {said}.", "Make room for 1 GB there.") from error


def prune(keep: list[Path]):
    """Remove images and templates that nothing has thawed for two weeks."""
    for pattern in ("image-*", "template-*"):
        for path in cache.directory().glob(pattern):
            if path not in keep and path.is_dir() and time.time() - path.stat().st_mtime > UNUSED_FOR:
                shutil.rmtree(path, ignore_errors=True)
