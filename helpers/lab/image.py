"""The virtual machine's disk: a stock Debian with BCC, kernel headers and the locked Python packages.

mmdebstrap makes the root file system, as root or, without root, in a user namespace; pip gathers the Python packages on
this side, so that the network settings of this machine apply; mke2fs puts both into an image, and qemu-img packs it.

The machine is the same on every computer, a Raspberry Pi too: emulating its processor is QEMU's job. Where this
computer's is another, Linux runs the programs that are called while Debian is installed by qemu-user (binfmt_misc).
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import LabError, cache, causes, debian, requirements
from .building import Changed, Say, building

INIT = Path(__file__).with_name("init.sh")
PRECOMPILE = Path(__file__).with_name("precompile.py")
FRONT = Path(__file__).with_name("libbcc.c")

# Python's version in each Debian release that the lab can run.
SUITES = {"bookworm": "3.11", "trixie": "3.13", "forky": "3.14", "sid": "3.14"}
DEFAULT_SUITE = "trixie"

ARCHITECTURE = "amd64"
# What the guest's processor and its C library, glibc 2.36 or later, can load: Python packages as PyPI tags them.
WHEELS = [*(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)), "manylinux2014_x86_64", "manylinux1_x86_64"]
# Nobody runs a package's tests in the VM, nor completes the names of packages that are not there.
UNREAD = ["*/tests", "*/*/tests", "jedi/third_party/typeshed/stubs", "jedi/third_party/django-stubs"]

# Nobody reads manuals in the VM, its initrd does without udev, and dpkg leaves out what these patterns match.
DPKG_OPTIONS = """path-exclude=/usr/share/initramfs-tools/hooks/udev
path-exclude=/usr/share/initramfs-tools/scripts/*/udev
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/bug/*
"""

# The initrd needs these drivers and no others, so it starts quicker; nor udev, which gives up after a minute on what a
# slow computer still does. What udev's last script does has to be done then.
INITRD = """set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/scripts/init-bottom"
printf '%s\\n' MODULES=list COMPRESS=gzip FSTYPE=ext4 > "$1/etc/initramfs-tools/conf.d/lab"
printf '%s\\n' virtio_pci virtio_blk ext4 crc32c > "$1/etc/initramfs-tools/modules"
cat > "$1/etc/initramfs-tools/scripts/init-bottom/dev" << 'END'
#!/bin/sh
[ "$1" = prereqs ] || mount -n -o move /dev "$rootmnt/dev"
END
chmod 755 "$1/etc/initramfs-tools/scripts/init-bottom/dev"
"""

# The headers depend on a compiler, but clang is the one that reads them, and links C to shared libraries; clang's own
# headers for other processors go, C++ and Objective C, too; and a VM has no such hardware.
TRIM = """set -eu
cd "$1"
rm -rf usr/lib/gcc/*/*/cc1* usr/lib/gcc/*/*/lto* usr/libexec/gcc/*/*/cc1* usr/libexec/gcc/*/*/lto*
rm -rf usr/bin/*-lto-dump* usr/lib/*/lib*san.so* usr/lib/*/gconv usr/lib/udev/hwdb*
find usr/lib/gcc usr/lib/*-linux-gnu -name '*.a' ! -name libgcc.a ! -name libc_nonshared.a -delete
rm -rf usr/include/c++ usr/include/*/c++ usr/lib/gcc/*/*/include/objc usr/lib/llvm-*/lib/LLVM*.so usr/lib/llvm-*/share
find usr/lib/llvm-*/lib/clang/*/include/ -mindepth 1 ! -type d ! -name '*std*' ! -name limits.h ! -name float.h \\
    -delete
ls -d usr/src/linux-headers-*/arch/* | grep -v /x86$ | xargs rm -rf
for part in drivers/gpu drivers/media drivers/infiniband drivers/net/ethernet drivers/net/wireless drivers/scsi \\
            drivers/staging drivers/iio drivers/hwmon drivers/usb drivers/isdn drivers/bluetooth drivers/input sound; do
    rm -rf lib/modules/*/kernel/$part
done
chroot . depmod "$(ls lib/modules)"
rm -rf usr/share/zoneinfo/right var/lib/apt/lists/* var/cache/* usr/share/icons usr/share/perl*/unicore
"""

# Early, so that mmdebstrap ends soon where pip has failed.
SITE = """set -eu
mkdir "$1/opt/site"
bash -c 'tar -x --no-same-owner -C "$0" <&"$LAB_SITE"' "$1/opt/site"
"""
PYTHON = """set -eu
chroot "$1" python3 -m venv --without-pip /opt/lab
mv "$1"/opt/site/* "$1"/opt/lab/lib/python3.*/site-packages/
rmdir "$1/opt/site"
ln -s /usr/lib/python3/dist-packages/bcc "$1"/opt/lab/lib/python3.*/site-packages/
"""
COMPILE = 'chroot "$1" /opt/lab/bin/python -m compileall -q -j2 /opt/lab/lib /usr/lib/python3/dist-packages/bcc || true'

# Programs compile without this too, ten times more slowly.
QUICK = """chroot "$1" python3 /tmp/precompile.py ||
    echo "SLOW: $(chroot "$1" dpkg-query -W -f '${Package} ' 'clang-[0-9]*' 'libclang-cpp[0-9]*')"
rm "$1/tmp/precompile.py" "$1/tmp/libbcc.c"
"""

BOOT = """set -eu
cd "$1"
rm -f vmlinuz* initrd*
mv boot/vmlinuz-* vmlinuz
mv boot/initrd.img-* initrd
rm boot/*
"""

# While a hook runs, /proc, /sys and the devices in /dev may be this machine's, mounted, and without root nobody can
# make devices; the VM mounts its own. The rest is linked, which takes no room.
EXT4 = """set -eu
mkdir -p "$1.tree/dev" "$1.tree/proc" "$1.tree/sys"
find "$1" -mindepth 1 -maxdepth 1 ! -name dev ! -name proc ! -name sys -exec cp -alx -t "$1.tree" {} +
size=$(du -s --apparent-size -k "$1.tree" | cut -f1)
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -t ext4 -O ^metadata_csum,^resize_inode -m 0 -L lab \\
    -d "$1.tree" "/proc/self/fd/$LAB_DISK" "$((size * 5 / 4 + 400000))k"
rm -rf "$1.tree"
"""


def target(suite: str) -> Path:
    """Return where the image of a Debian release is or will be.

    Raises:
        LabError: the lab does not know this release.
    """
    if suite not in SUITES:
        raise LabError(f"The lab knows no Debian release named {suite!r}.", f"It knows {', '.join(SUITES)}.")
    steps = pip(suite, Path("work")), mmdebstrap(suite, Path("work"), Path("here")), pack(Path("work"))
    files = INIT, PRECOMPILE, FRONT
    made_of = cache.key(json.dumps([*steps, UNREAD]), requirements.for_guest(SUITES[suite]), *files)
    return cache.directory() / f"image-{suite}-{made_of}"


def ensure(suite: str = DEFAULT_SUITE, say: Say = print) -> Path:
    """Return a directory with ``disk.qcow2``, ``vmlinuz`` and ``initrd`` of a Debian release, built if it is missing.

    Raises:
        LabError: an unknown release, a missing program, or a failed download.
        Changed: the course does so meanwhile.
    """
    directory = target(suite)
    if not directory.exists():
        with building(directory, say) as scratch:
            if scratch:
                build(scratch, suite, say)
                if target(suite) != directory:
                    raise Changed()
    return directory


def pip(suite: str, work: Path) -> list[str]:
    """Return pip's arguments: what ``requirements.txt`` in a directory locks goes to ``site`` there."""
    # The lock has chosen for the guest's Python already; pip would object to it with its own version in mind.
    return [
        *["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--ignore-requires-python"],
        *["--python-version", SUITES[suite], "--only-binary=:all:", *(f"--platform={tag}" for tag in WHEELS)],
        *["--target", f"{work}/site", "--require-hashes", "-r", f"{work}/requirements.txt"],
    ]


def mmdebstrap(suite: str, scratch: Path, here: Path) -> list[str]:
    """Return the command that makes the root file system, with files from *here*; kernel and initrd go to *scratch*.

    $LAB_SITE and $LAB_DISK are the numbers of open files: an archive to read, and the disk's image to write.
    """
    hooks = {
        "essential": [SITE, INITRD],
        "customize": [
            PYTHON,
            COMPILE,
            f"upload {shlex.quote(f'{here}/{INIT.name}')} /sbin/lab-init",
            'chmod 755 "$1/sbin/lab-init"',
            f"upload {shlex.quote(f'{here}/{PRECOMPILE.name}')} /tmp/precompile.py",
            f"upload {shlex.quote(f'{here}/{FRONT.name}')} /tmp/libbcc.c",
            QUICK,
            TRIM,
            BOOT,
            f"download /vmlinuz {shlex.quote(f'{scratch}/vmlinuz')}",
            f"download /initrd {shlex.quote(f'{scratch}/initrd')}",
            'rm "$1/vmlinuz" "$1/initrd"',
            EXT4,
        ],
    }
    return [
        "mmdebstrap",
        "--variant=essential",
        f"--architectures={ARCHITECTURE}",
        f"--include={','.join(debian.packages('guest'))}",
        *(f"--dpkgopt={line}" for line in DPKG_OPTIONS.splitlines()),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--{when}-hook={hook}" for when, them in hooks.items() for hook in them),
        "--format=null",
        suite,
        "-",
    ]


def pack(scratch: Path) -> list[str]:
    """Return the command that leaves out of the disk's image what is empty, and compresses the rest."""
    form = ["-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    return ["qemu-img", "convert", *form, f"{scratch}/disk.ext4", f"{scratch}/disk.qcow2"]


def work() -> Path:
    """Return the directory below which mmdebstrap works: $TMPDIR, or /var/tmp, as /tmp may lie in memory.

    A $TMPDIR that is closed to others, as libpam-tmpdir makes it, is no use to mmdebstrap without root, which becomes
    somebody else.
    """
    named = Path(os.environ.get("TMPDIR") or "/var/tmp").absolute()
    is_open = all(path.exists() and path.stat().st_mode & 0o001 for path in (named, *named.parents))
    return named if is_open or os.geteuid() == 0 else Path("/var/tmp")


def build(scratch: Path, suite: str, say: Say) -> None:
    """Make the image of a Debian release in the directory *scratch*.

    Raises:
        LabError: a program is missing, or a download fails.
    """
    for program, package in {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "qemu-img": "qemu-utils"}.items():
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise LabError(f"{program} is missing.", f"Install it: sudo apt-get install {package}")

    say(f"Debian {suite} for the VM, with its Python packages (about 90 s)")
    # Without root mmdebstrap becomes somebody who does not reach our directories; what is open already can be used. Its
    # number is high, because what mmdebstrap opens itself it has shells use, which know numbers of one digit only.
    reading, writing = os.pipe()
    with open(scratch / "disk.ext4", "wb") as disk, ThreadPoolExecutor(1) as beside:
        os.fchmod(disk.fileno(), 0o666)
        high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 100) for number in (reading, disk.fileno())]
        os.close(reading)
        site = beside.submit(gather, suite, scratch, writing)
        settings = {"LAB_SITE": str(high[0]), "LAB_DISK": str(high[1]), "TMPDIR": str(work())}
        try:
            what = "mmdebstrap could not make the VM's root file system"
            command = mmdebstrap(suite, scratch, INIT.parent)
            printed = causes.run(command, what, pass_fds=high, env={**os.environ, **settings})
        finally:
            for number in high:
                os.close(number)
            # Where this has failed, it is the reason.
            site.result()
    if slow := re.search(r"^(.*)\nSLOW: (.*)$", printed, re.M):
        say(f"BPF programs will compile slowly: nothing could be precompiled with {slow[2]} ({slow[1]})")
    causes.run(pack(scratch), "The VM's disk could not be packed")
    (scratch / "disk.ext4").unlink()


def gather(suite: str, scratch: Path, writing: int) -> None:
    """Write a tar archive of the VM's Python packages to a pipe, and close it.

    Args:
        suite: The Debian release.
        scratch: A directory on a disk with room for the packages.
        writing: The file descriptor of the pipe's end.

    Raises:
        LabError: they cannot be downloaded.
    """
    with open(writing, "wb") as pipe, tempfile.TemporaryDirectory(dir=scratch) as work:
        site = Path(work, "site")
        Path(work, "requirements.txt").write_text(requirements.for_guest(SUITES[suite]))
        causes.run([sys.executable, "-m", "pip", *pip(suite, Path(work))], "pip could not gather the Python packages")
        for folder in [folder for pattern in UNREAD for folder in site.glob(pattern)]:
            shutil.rmtree(folder, ignore_errors=True)
        # Where mmdebstrap has failed, nobody reads, and the reason is told there.
        with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=pipe, mode="w|") as tar:
            tar.add(site, ".")
