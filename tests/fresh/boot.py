"""A machine that really boots: stock Debian with systemd under QEMU, by software emulation; and a trial there."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from helpers.lab import vm
from tests.fresh import machine

PACKAGES = ["apt-utils", "dbus", "initramfs-tools", "libpam-systemd", "linux-image-amd64", "systemd-sysv"]
NETWORK = "[Match]\nName=eth0\n[Network]\nDHCP=yes\n"
# It prints on the first serial line, and the machine ends with it.
UNIT = """[Unit]
After=network-online.target
Wants=network-online.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
User=learner
PAMName=login
ExecStart=/bin/bash /srv/trial
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
"""
# It would hang up on whoever prints on the same line.
NO_GETTY = "systemd.mask=serial-getty@ttyS0.service"
# What the first line of the trial and the second take tells how much slower emulation is.
WORK = "sum(i * i for i in range(3_000_000))"
TRIAL = """
say() {{ echo "TRIAL $(cut -d. -f1 /proc/uptime) $*"; }}
say "work begins"
python3 -c '{work}'
say "work ends"
say "logged in as $(id -un), $(uname -r)"
cd && git clone --quiet /srv/first-ebpf.git && cd first-ebpf
say "cloned; now: {command}"
{command} > ~/said 2>&1 & lab=$!
tail --pid=$lab --lines=+1 --follow ~/said | grep --line-buffered '^  [^ ]' | while read -r line; do say "$line"; done &
until address=$(grep -o 'http://127.0.0.1:[0-9]*/lab/tree[^ ]*token=[0-9a-f]*' ~/said | head -n 1) && [ "$address" ]; do
    kill -0 $lab 2> /dev/null || {{ say "it ended:"; cat ~/said; say "result 1"; exit; }}
    sleep 5
done
say "JupyterLab said its address"
{{ {then}; }} > ~/installed 2>&1 || cat ~/installed
python=$(echo {cache}/python-*/bin/python)
sudo=$(ls $python > /dev/null 2>&1 || echo sudo)
[ "$sudo" ] && python=$(sudo sh -c "echo {cache}/python-*/bin/python")
$sudo env PYTHONPATH=. $python -m tests.fresh.visit "$address" {notebooks} 2>&1 |
    while read -r line; do say "$line"; done
say "result ${{PIPESTATUS[0]}}"
"""


def make(suite: str, folder: Path, trial: str) -> None:
    """Make the disk, kernel and initrd, in *folder*, of a machine that runs the script *trial* when it has booted."""
    root = folder / "root"
    machine.make_root(suite, root, [*machine.PACKAGES, *PACKAGES])
    (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")
    (root / "etc/systemd/network/wired.network").write_text(NETWORK)
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (root / "srv/trial").write_text(trial)
    (root / "etc/systemd/system/trial.service").write_text(UNIT)
    enable = ["chroot", root, "systemctl", "--quiet", "enable", "systemd-networkd", "trial"]
    subprocess.run(enable, check=True, stderr=subprocess.DEVNULL)
    for name in ("vmlinuz", "initrd.img"):
        (folder / name).write_bytes((root / name).resolve().read_bytes())
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", "14G"], check=True)
    shutil.rmtree(root)


def run(folder: Path) -> Iterator[tuple[str, float]]:
    """Boot the machine, and give what it prints, line by line, with the seconds of CPU that it has taken so far."""
    command = [
        *["setpriv", "--pdeathsig", "KILL", vm.qemu(), "-accel", f"tcg,thread={vm.threads()}", "-cpu", "Nehalem,-vme"],
        *["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
        *["-machine", "q35", "-smp", "2", "-m", "5G"],
        *["-kernel", folder / "vmlinuz", "-initrd", folder / "initrd.img"],
        *["-append", f"root=/dev/vda rw console=ttyS0 mitigations=off no_timer_check net.ifnames=0 {NO_GETTY}"],
        *["-drive", f"if=virtio,format=raw,cache=unsafe,file={folder / 'disk'}", "-device", "virtio-rng"],
        *["-nic", "user,model=virtio", "-serial", "stdio"],
    ]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True, "errors": "replace"}
    with subprocess.Popen(command, **streams) as qemu:
        try:
            used = psutil.Process(qemu.pid)
            for line in qemu.stdout:
                yield line, sum(used.cpu_times()[:2])
        finally:
            qemu.kill()
