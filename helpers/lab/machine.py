"""What this machine can do for a learner of eBPF, and what to do about each "no".

    report()                      a table in a notebook, plain text in a terminal
    python -m helpers.lab.machine     the same in a terminal; exit status 1 when something needed is missing
    missing_for_kprobes()         the checks that stand between this machine and the course's programs

Only files are read and nothing is loaded, so it is quick and needs no rights. Every function takes `root`, the
directory where /proc and /sys are looked for.
"""

import html
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from helpers.collect.tracefs import MOUNT_POINTS
from helpers.language import tr

CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39  # <linux/capability.h>
FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PID_NS_INIT_INO, <linux/nsfs.h>: the same on every kernel


class Check(NamedTuple):
    """One line of the report. `needed` is False where the course can do without; `fix` is empty where all is well."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True


class Report(tuple[Check, ...]):
    """All checks, in reading order. `str()` is for terminals; notebooks show a table."""

    @property
    def missing(self) -> list[Check]:
        """The needed checks that failed."""
        return [check for check in self if check.needed and not check.ok]

    @property
    def summary(self) -> str:
        """One sentence: can this machine run the course's programs?"""
        if not self.missing:
            return tr("This machine can run every program of the course.")
        return tr(
            "This machine cannot run the course's programs as it is: see {names}. "
            "The lab can bring a small virtual machine of its own:  EBPF_LAB=vm make lab",
            names=", ".join(check.name for check in self.missing),
        )

    def __str__(self) -> str:
        width = max(len(check.name) for check in self)
        lines = []
        for check in self:
            lines.append(f"{_mark(check):3}  {check.name:{width}}  {check.found}")
            lines += [f"{'':{width + 7}}{line}" for line in check.fix.splitlines()]
        return "\n".join([*lines, "", self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # No colours of our own: the text keeps those of the page, light or dark.
        cell = '<td style="text-align: left; vertical-align: top; white-space: normal">'
        last = cell.replace("normal", "normal; overflow-wrap: anywhere")
        rows = "".join(
            f"<tr>{cell}<b>{_mark(check)}</b></td>{cell}{html.escape(check.name)}</td>{last}{html.escape(check.found)}"
            + "".join(f"<br>{html.escape(line)}" for line in check.fix.splitlines())
            + "</td></tr>"
            for check in self
        )
        head = "".join(f'<th style="text-align: left">{title}</th>' for title in ("", tr("what"), tr("found here")))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{html.escape(self.summary)}</p>"


def report(root: str | Path = "/") -> Report:
    """Return a `Report` on this machine.

    >>> print(report())
    yes  kernel        Linux 6.12.94+deb13-amd64 on x86_64
    yes  user          root, with CAP_SYS_ADMIN
    ...
    """
    tree = Path(root)
    return Report(
        check(tree) for check in (kernel, user, pids, bpf, kprobes, tracepoints, tracefs, headers, lockdown, bcc, btf)
    )


def missing_for_kprobes(root: str | Path = "/") -> list[Check]:
    """Return what keeps the course's programs from working here: a list of `Check`, empty when nothing does.

    >>> [check.name for check in missing_for_kprobes()]
    ['user', 'kprobes']
    """
    return report(root).missing


def kernel(root: Path) -> Check:
    """Return the running kernel's release, proc_sys_kernel(5); perf buffers count lost events since 6.0."""
    release = _read(root / "proc/sys/kernel/osrelease")
    version = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in release.split("-")[0].split(".")[:2])
    found = tr("Linux {release} on {processor}", release=release or tr("(unknown)"), processor=platform.machine())
    if platform.machine() != "x86_64":
        return Check(
            "kernel",
            False,
            tr("{found}, and the collectors read rings on x86-64 only", found=found),
            tr("use the lab's virtual machine, which is x86-64:  EBPF_LAB=vm make lab"),
        )
    if version >= (6, 0):
        return Check("kernel", True, found)
    return Check("kernel", False, tr("{found}, and the course needs 6.0 or later", found=found), _ANOTHER_KERNEL)


def user(root: Path) -> Check:
    """Return who we are and what we may do: user and capabilities, from proc_pid_status(5), capabilities(7)."""
    status = dict(line.split(":", 1) for line in _read(root / "proc/self/status").splitlines() if ":" in line)
    uid = int(status.get("Uid", "0 65534").split()[1])
    effective = int(status.get("CapEff", "0"), 16)
    held = [
        name
        for name, bit in (("CAP_SYS_ADMIN", CAP_SYS_ADMIN), ("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON))
        if effective >> bit & 1
    ]
    who = "root" if uid == 0 else tr("user {number}", number=uid)
    who += tr(", with {capabilities}", capabilities=", ".join(held)) if held else tr(", without CAP_SYS_ADMIN")
    if uid:  # tracefs belongs to root, so capabilities alone do not help
        return Check("user", False, who, tr("only root may use kernel probes; start with:  sudo make lab"))
    if "CAP_SYS_ADMIN" not in held:
        fix = tr("root in a container may not trace; start it with:  {command}", command=_CONTAINER)
        return Check("user", False, who, fix)
    return Check("user", True, who)


def pids(root: Path) -> Check:
    """Return whether BPF programs, which see the numbers of the first PID namespace, see ours: pid_namespaces(7)."""
    try:
        namespace = os.readlink(root / "proc/self/ns/pid")
    except OSError:  # a kernel without namespaces numbers processes once
        namespace = FIRST_PID_NAMESPACE
    if namespace == FIRST_PID_NAMESPACE:
        return Check("PIDs", True, tr("process numbers here are those that the kernel reports"))
    return Check(
        "PIDs",
        False,
        tr("a PID namespace of its own: events would carry other process numbers than you see"),
        tr("for a container:  {command}", command=_CONTAINER),
    )


def bpf(root: Path) -> Check:
    """Return whether the kernel has the system call of BPF: its sysctl file exists then."""
    if (root / "proc/sys/kernel/unprivileged_bpf_disabled").exists():
        return Check("bpf()", True, tr("the kernel has the system call"))
    return Check("bpf()", False, tr("the kernel has no such system call (CONFIG_BPF_SYSCALL)"), _ANOTHER_KERNEL)


def kprobes(root: Path) -> Check:
    """Return whether there are kernel probes: perf_event_open(2) has a device for them, or tracefs kprobe_events."""
    if (root / "sys/bus/event_source/devices/kprobe").exists() or _in_tracefs(root, "kprobe_events"):
        return Check("kprobes", True, tr("almost any kernel function can be probed"))
    return Check("kprobes", False, tr("this kernel was built without them (CONFIG_KPROBE_EVENTS)"), _ANOTHER_KERNEL)


def tracepoints(root: Path) -> Check:
    """Return whether there are static tracepoints: perf_event_open(2) has a "tracepoint" device."""
    if not (root / "sys/bus/event_source/devices/tracepoint").exists():
        return Check(
            "tracepoints",
            False,
            tr("this kernel was built without them (CONFIG_EVENT_TRACING)"),
            tr("the course can do without; any distribution's kernel has them"),
            needed=False,
        )
    systems = _in_tracefs(root, "events/syscalls")
    return Check("tracepoints", True, tr("yes, also for system calls") if systems else tr("yes"), needed=False)


def tracefs(root: Path) -> Check:
    """Return where the file system lies in which trace_pipe lives: kernel documentation, trace/ftrace."""
    if directory := _tracefs(root):
        return Check("tracefs", True, tr("mounted at {directory}", directory=f"/{directory.relative_to(root)}"))
    return Check("tracefs", False, tr("not mounted"), "sudo mount -t tracefs tracefs /sys/kernel/tracing")


def headers(root: Path) -> Check:
    """Return where this release's headers are, which BCC hands to its compiler: /lib/modules/…/build or kheaders."""
    release = _read(root / "proc/sys/kernel/osrelease")
    build = root / "lib/modules" / release / "build"
    if (build / "include").is_dir():
        return Check("headers", True, f"/lib/modules/{release}/build")
    if (root / "sys/kernel/kheaders.tar.xz").exists():
        return Check("headers", True, "/sys/kernel/kheaders.tar.xz")
    found = tr("none in {directory}", directory=f"/lib/modules/{release}/build")
    found += tr(", which points nowhere") if build.is_symlink() else ""
    return Check("headers", False, found, _install(f"linux-headers-{release}", "kernel-devel", "linux-headers"))


def lockdown(root: Path) -> Check:
    """Return kernel_lockdown(7)'s mode: at "confidentiality" it forbids kprobes, tracefs and reads by BPF."""
    mode = _read(root / "sys/kernel/security/lockdown").partition("[")[2].partition("]")[0]
    if mode == "confidentiality":
        return Check(
            "lockdown",
            False,
            tr("confidentiality: the kernel hides from every tracer, even root's"),
            tr("remove  lockdown=confidentiality  from /etc/default/grub, then  sudo update-grub  and reboot"),
        )
    found = tr("integrity, which allows tracing") if mode == "integrity" else tr("not in force")
    return Check("lockdown", True, found)


def bcc(root: Path) -> Check:
    """Return where the BPF Compiler Collection's package `bcc` is, from which this Python would import it."""
    candidates = [root / entry.lstrip("/") / "bcc" for entry in sys.path if entry]
    package = next((path for path in candidates if (path / "__init__.py").exists()), None)
    install = _install("python3-bpfcc", "python3-bcc", "python-bcc")
    if package is None:
        return Check("BCC", False, tr("this Python cannot import bcc"), install)
    if not (package / "libbcc.py").exists():
        return Check(
            "BCC",
            False,
            tr("{package} is another project's package of the same name", package=package),
            f"{sys.executable} -m pip uninstall bcc\n{install}",
        )
    version = _read(package / "version.py").partition("=")[2].strip(" '\"") or tr("of unknown version")
    return Check("BCC", True, tr("{version} in {package}", version=version, package=package))


def btf(root: Path) -> Check:
    """Return where the kernel's type information is: kernel documentation, bpf/btf."""
    if (root / "sys/kernel/btf/vmlinux").exists():
        return Check("BTF", True, "/sys/kernel/btf/vmlinux", needed=False)
    return Check(
        "BTF",
        False,
        tr("none (CONFIG_DEBUG_INFO_BTF)"),
        tr("the course can do without; any distribution's kernel of late has it"),
        needed=False,
    )


def _install(debian: str, fedora: str, arch: str) -> str:
    return tr("sudo apt install {debian}   (Fedora: {fedora}; Arch: {arch})", debian=debian, fedora=fedora, arch=arch)


_CONTAINER = "docker run --privileged --pid=host …"
_ANOTHER_KERNEL = tr(
    "start a distribution's kernel:  sudo apt install linux-image-amd64   "
    "(Ubuntu: linux-image-generic; Fedora: kernel; Arch: linux)"
)


def _tracefs(root: Path) -> Path | None:
    """Return where tracefs is mounted, or None; below debugfs it is mounted when somebody looks."""
    mounts = [line.split()[1:3] for line in _read(root / "proc/self/mounts").splitlines() if line.count(" ") > 2]
    for name in MOUNT_POINTS:
        if [f"/{name}", "tracefs"] in mounts or _exists(root / name / "trace_pipe"):
            return root / name
    return None


def _in_tracefs(root: Path, name: str) -> bool:
    directory = _tracefs(root)
    return directory is not None and _exists(directory / name)


def _exists(path: Path) -> bool:
    """Return whether a file is there; only root may look into tracefs, so for others the answer is no."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _mark(check: Check) -> str:
    return tr("yes") if check.ok else tr("NO") if check.needed else tr("no")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    result = report()
    print(result)
    sys.exit(1 if result.missing else 0)
