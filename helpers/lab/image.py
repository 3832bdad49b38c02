"""The virtual machine's disk: a stock Debian with BCC, kernel headers and the locked Python packages.

mmdebstrap makes the root file system, as root or, without root, in a user namespace; pip gathers the Python packages on
this side, so that the network settings of this machine apply; mke2fs puts both into an ext4 image.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import LabError, cache, requirements

APT_LIST = cache.PROJECT / "binder/apt.txt"
INIT = Path(__file__).with_name("init.sh")

# Python's version in each Debian release that the lab can run.
SUITES = {"bookworm": "3.11", "trixie": "3.13", "forky": "3.14", "sid": "3.14"}
DEFAULT_SUITE = "trixie"

# Nobody reads manuals in the VM, and dpkg leaves out what these patterns match.
DPKG_OPTIONS = """path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/bug/*
"""

# The initrd needs these and no other drivers: it starts quicker.
DRIVERS = ["virtio_pci", "virtio_blk", "ext4", "crc32c"]
# Built into the kernels of later releases. Only in the initrd does udev run, which gives the wire its name.
MORE_DRIVERS = {"bookworm": ["virtio_console"]}

INITRD = """set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\nFSTYPE=ext4\\n' > "$1/etc/initramfs-tools/conf.d/lab"
printf '{drivers}' > "$1/etc/initramfs-tools/modules"
"""

# The headers depend on a compiler, but clang inside BCC is the one that reads them; and a VM has no such hardware.
TRIM = """set -eu
cd "$1"
rm -rf usr/lib/gcc/*/*/cc1* usr/lib/gcc/*/*/lto* usr/libexec/gcc/*/*/cc1* usr/libexec/gcc/*/*/lto*
for part in drivers/gpu drivers/media drivers/infiniband drivers/net/ethernet drivers/net/wireless drivers/scsi \\
            drivers/staging drivers/iio drivers/hwmon drivers/usb drivers/isdn drivers/bluetooth drivers/input sound; do
    rm -rf lib/modules/*/kernel/$part
done
chroot . depmod "$(ls lib/modules)"
rm -rf usr/share/zoneinfo/right var/lib/apt/lists/* var/cache/* usr/share/icons usr/share/perl*/unicore
"""

PYTHON = """set -eu
chroot "$1" python3 -m venv --without-pip /opt/lab
ln -s /usr/lib/python3/dist-packages/bcc "$1"/opt/lab/lib/python3.*/site-packages/
"""
COMPILE = 'chroot "$1" /opt/lab/bin/python -m compileall -q -j2 /opt/lab/lib /usr/lib/python3/dist-packages/bcc || true'

BOOT = """set -eu
cd "$1"
rm -f vmlinuz* initrd*
mv boot/vmlinuz-* vmlinuz
mv boot/initrd.img-* initrd
rm boot/*
"""

# While a hook runs, /proc, /sys and the devices in /dev may be this machine's, mounted, and without root nobody can make
# devices; the VM mounts its own. The rest is linked, which takes no room.
EXT4 = """set -eu
mkdir -p "$1.tree/dev" "$1.tree/proc" "$1.tree/sys"
find "$1" -mindepth 1 -maxdepth 1 ! -name dev ! -name proc ! -name sys -exec cp -alx -t "$1.tree" {} +
size=$(du -s --apparent-size -k "$1.tree" | cut -f1)
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -O ^metadata_csum,^resize_inode -m 0 -L lab \\
    -d "$1.tree" "$1.ext4" "$((size * 5 / 4 + 400000))k"
rm -rf "$1.tree"
mv "$1.ext4" "$1/disk.ext4"
"""


def packages(group: str) -> list[str]:
    """Return the Debian packages of one group ("host", "guest" or "test") in binder/apt.txt."""
    lines = (line.partition("#") for line in APT_LIST.read_text().splitlines())
    return [name.strip() for name, _, why in lines if name.strip() and why.strip().partition(":")[0] == group]


def initrd(suite: str) -> str:
    """Return the shell script that chooses what goes into the initrd of a Debian release."""
    return INITRD.format(drivers="".join(f"{name}\\n" for name in DRIVERS + MORE_DRIVERS.get(suite, [])))


def target(suite: str) -> Path:
    """Return where the image of a Debian release is or will be. Raises LabError for an unknown release."""
    if suite not in SUITES:
        raise LabError(f"The lab knows no Debian release named {suite!r}.", f"It knows {', '.join(SUITES)}.")
    recipe = DPKG_OPTIONS, initrd(suite), PYTHON, COMPILE, TRIM, BOOT, EXT4
    made_of = cache.key(" ".join(packages("guest")), requirements.for_guest(SUITES[suite]), INIT, *recipe)
    return cache.directory() / f"image-{suite}-{made_of}"


def ensure(suite: str = DEFAULT_SUITE, say=print) -> Path:
    """Return a directory with ``disk.ext4``, ``vmlinuz`` and ``initrd`` of a Debian release, built if it is missing.

    Raises LabError for an unknown release, a missing program, a failed download or a full disk.
    """
    place = target(suite)
    if not place.exists():
        with cache.building(place, say) as scratch:
            if scratch:
                build(scratch, suite, say)
    return place


def build(scratch: Path, suite: str, say) -> None:
    for program, package in {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}.items():
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise LabError(f"{program} is missing.", f"Install it: sudo apt-get install {package}")

    with tempfile.TemporaryDirectory(dir=scratch.parent, suffix=".partial") as work:
        say("Python packages for the VM (about 20 s)")
        site, lock, archive = Path(work, "site"), Path(work, "requirements.txt"), Path(work, "site.tar")
        lock.write_text(requirements.for_guest(SUITES[suite]))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"]
        # The lock has chosen for the guest's Python already; pip would object to it with its own version in mind.
        target = ["--target", str(site), "--python-version", SUITES[suite], "--only-binary=:all:"]
        target += ["--ignore-requires-python"]
        run([*pip, *target, "--require-hashes", "-r", str(lock)], "pip could not gather the VM's Python packages", say)
        for tests in [*site.glob("*/tests"), *site.glob("*/*/tests")]:
            shutil.rmtree(tests)
        with tarfile.open(archive, "w") as tar:
            tar.add(site, ".", filter=owned_by_root)

        say(f"Debian {suite} for the VM (about 90 s)")
        inside = f"/opt/lab/lib/python{SUITES[suite]}/site-packages"
        hooks = {
            "essential": [initrd(suite)],
            "customize": [
                PYTHON,
                f"tar-in {archive} {inside}",
                COMPILE,
                f"upload {INIT} /sbin/lab-init",
                'chmod 755 "$1/sbin/lab-init"',
                TRIM,
                BOOT,
                f"download /vmlinuz {scratch}/vmlinuz",
                f"download /initrd {scratch}/initrd",
                'rm "$1/vmlinuz" "$1/initrd"',
                EXT4,
                f"download /disk.ext4 {scratch}/disk.ext4",
            ],
        }
        run(
            [
                "mmdebstrap",
                "--variant=essential",
                f"--include={','.join(packages('guest'))}",
                *(f"--dpkgopt={line}" for line in DPKG_OPTIONS.splitlines()),
                '--aptopt=Acquire::Languages "none"',
                '--aptopt=APT::Install-Recommends "false"',
                *(f"--{when}-hook={hook}" for when, them in hooks.items() for hook in them),
                "--format=null",
                suite,
                "-",
            ],
            "mmdebstrap could not make the VM's root file system",
            say,
        )
    # The copy above wrote the file's holes as zeros.
    subprocess.run(["fallocate", "--dig-holes", scratch / "disk.ext4"], check=True)


def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def run(command: list[str], failure: str, say) -> None:
    """Run a command; when it fails, raise a LabError that ends with the last lines it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        if "No space left on device" in done.stdout:
            raise OSError(28, "No space left on device")
        tail = "\n".join(done.stdout.splitlines()[-12:])
        raise LabError(f"{failure}. Its last lines:\n{tail}\n", "Check the network, then run the same command again.")
