"""Whatever is missing or broken is told in one sentence, with what to do, in the terminal and in the notebook."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.lab import LabError, choose, image, template, vm
from helpers.lab.__main__ import main, status

IN_THE_NOTEBOOK = """
import json
from tests.lab.kernels import LocalKernel, jupyter
with jupyter(), LocalKernel() as kernel:
    try:
        kernel.execute("1 + 1")
        print(json.dumps("no error"))
    except RuntimeError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture
def other_cache(person):
    """A cache directory of the person's own that holds nothing yet, on the same disk."""
    folder = person.cache.parent / "another, cache"
    person.run("mkdir", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def copy_template(person, built, other_cache):
    """Put the disk image and a template that may be damaged into the other cache."""
    disk = image.target(image.DEFAULT_SUITE)
    for command in (["ln", "-s", person.cache / disk.name], ["cp", "-a", "--sparse=always", person.cache / built.name]):
        done = person.run(*command, other_cache)
        assert done.returncode == 0, done.stderr
    return other_cache / built.name


def test_no_template_yet(person, other_cache):
    environment = {"EBPF_LAB_CACHE": str(other_cache)}
    done = person.lab("run", "--", "true", environment=environment)
    assert done.returncode != 0
    where = f"cd {shlex.quote(str(person.project))} && EBPF_LAB_CACHE={shlex.quote(str(other_cache))}"
    assert done.stderr.strip() == f"The lab's virtual machine is not built yet. In a terminal, run: {where} make vm"
    told = person.python(IN_THE_NOTEBOOK, environment=environment)
    assert "not built yet" in told and "make vm" in told and "restart this kernel" in told


def test_no_template_for_this_account_in_a_cache_of_somebody_elses(person):
    done = person.lab("run", "--", "true", environment={"EBPF_LAB_CACHE": "/usr"})
    assert done.returncode != 0
    assert "No virtual machine in /usr suits this account and this QEMU. Ask who built it" in done.stderr


def test_a_port_that_another_process_has(person):
    """Jupyter chooses ports a moment before they are used; where one is taken meanwhile, the kernel says which."""
    said = person.python(
        """
        import json, socket, subprocess
        from jupyter_client.manager import KernelManager
        from tests.lab.kernels import jupyter
        with jupyter(), socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            manager = KernelManager(kernel_name="ebpf", iopub_port=port, cache_ports=False)
            manager.start_kernel(stderr=subprocess.PIPE)
            print(json.dumps(manager.provisioner.process.stderr.read().decode().replace(str(port), "N")))
            manager.cleanup_resources()
        """
    )
    assert "Port N is taken by another process. Start the kernel again." in said


def test_no_qemu(person):
    told = person.python(IN_THE_NOTEBOOK, environment={"PATH": without_qemu(person)})
    assert "QEMU is missing. Install it: sudo apt-get install qemu-system-x86" in told


def without_qemu(person) -> str:
    """Return a PATH on which everything is found but QEMU."""
    folder = person.home / "bin"
    folder.mkdir(exist_ok=True)
    for source in ("/usr/bin", "/usr/sbin"):
        for program in os.listdir(source):
            if not program.startswith("qemu-system") and not (folder / program).is_symlink():
                (folder / program).symlink_to(f"{source}/{program}")
    return str(folder)


@pytest.mark.parametrize("damage", ["state", "ram", "made.json", "memory"])
def test_damaged_template(person, built, other_cache, damage):
    """Half a file, no file, or zeros where the guest's memory was: each is told, and building again mends it."""
    copied = copy_template(person, built, other_cache)
    command = {
        "state": ["truncate", "-s", "1000", copied / "state"],
        "ram": ["truncate", "-s", "1000000", copied / "ram"],
        "made.json": ["rm", copied / "made.json"],
        "memory": ["fallocate", "--punch-hole", "-o", "0", "-l", "1073741824", copied / "ram"],
    }[damage]
    assert person.run(*command).returncode == 0
    environment = {"EBPF_LAB_CACHE": str(other_cache), "EBPF_LAB_DEADLINE": "5"}
    done = person.lab("run", "--timeout", "60", "--", "echo", "alive", environment=environment)
    assert done.returncode not in (0, 124), done.stdout
    assert "template" in done.stderr and "python -m helpers.lab build --again" in done.stderr


def test_template_of_another_qemu_is_not_thawed(person, built, tmp_path, monkeypatch):
    """Another version of QEMU, of the agent or of the image has another name: it is built, not guessed at."""
    here = template.location(image.DEFAULT_SUITE, "tcg")
    monkeypatch.setattr(vm, "qemu_version", lambda: "QEMU emulator version 99.0")
    assert template.location(image.DEFAULT_SUITE, "tcg") != here
    agent = tmp_path / "guest.py"
    agent.write_text(template.AGENT.read_text() + "\n")
    monkeypatch.undo()
    monkeypatch.setattr(template, "AGENT", agent)
    assert template.location(image.DEFAULT_SUITE, "tcg") != here
    assert template.find() is None or template.find() != here


def test_host_mode_takes_no_qemu(monkeypatch, capsys):
    """As `sudo make lab` leaves a machine whose kernel can trace."""
    monkeypatch.setattr(choose, "mode", lambda: "host")
    monkeypatch.setattr(vm.shutil, "which", lambda *_: None)
    assert status(image.DEFAULT_SUITE) == 0
    assert capsys.readouterr().out.startswith("notebooks run on   host\n")
    monkeypatch.setattr(sys, "argv", ["helpers.lab", "run", "--", "no-such-program"])
    with pytest.raises(LabError, match="no-such-program: No such file"):
        main()


def test_kvm_that_opens_but_runs_no_guest(monkeypatch, tmp_path, built, capsys):
    """What the trial has told is kept, said in `status`, and software emulation takes KVM's place."""
    disk = image.target(image.DEFAULT_SUITE)
    (tmp_path / disk.name).symlink_to(disk)
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(template, "kvm_opens", lambda: True)
    for accelerator in vm.ACCELERATORS:
        template.location(image.DEFAULT_SUITE, accelerator).symlink_to(built)
    for kvm, accelerator in ("opens and may be used", "kvm"), ("opens, but does not run the lab's", "tcg"):
        assert status(image.DEFAULT_SUITE) == 0
        said = capsys.readouterr().out
        assert f"/dev/kvm           {kvm}" in said and f"template-trixie-{accelerator}-" in said
        template.distrust_kvm(LabError("No kernel probe fired.", "Build it again."))
    assert template.kvm_verdict().read_text() == "No kernel probe fired. Build it again."


def test_kvm_is_not_to_blame_for_what_keeps_software_emulation_from_building_too(monkeypatch, tmp_path):
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    (tmp_path / image.target(image.DEFAULT_SUITE).name).mkdir()
    monkeypatch.setattr(template, "kvm_opens", lambda: True)
    with pytest.raises(LabError):
        template.ensure(image.DEFAULT_SUITE, lambda text: None)
    assert not template.kvm_verdict().exists()


def test_kvm_is_not_to_blame_for_a_full_disk(monkeypatch, tmp_path):
    """Software emulation was built when there was still room."""
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    (tmp_path / image.target(image.DEFAULT_SUITE).name).mkdir()
    template.location(image.DEFAULT_SUITE, "tcg").mkdir()
    monkeypatch.setattr(template, "kvm_opens", lambda: True)
    monkeypatch.setattr(template.shutil, "copy", lambda *_: Path("/dev/full").write_text("more than there is room for"))
    with pytest.raises(LabError, match="is full"):
        template.ensure(image.DEFAULT_SUITE, lambda text: None)
    assert not template.kvm_verdict().exists()


def test_host_mode_without_root(person):
    told = person.python(IN_THE_NOTEBOOK, environment={"EBPF_LAB": "host"})
    assert "Host mode cannot trace here" in told and ("root" in told or "kprobes" in told)


def test_unknown_mode_and_suite(person):
    done = person.lab("run", "--", "true", environment={"EBPF_LAB": "cloud"})
    assert done.stderr.strip() == "EBPF_LAB is 'cloud'. Set it to host or vm, or leave it unset."
    done = person.lab("--suite", "buzz", "build")
    assert "no Debian release named 'buzz'" in done.stderr and "trixie" in done.stderr


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("mv /lib/modules/$(uname -r)/build /lib/modules/$(uname -r)/gone", ("headers", "apt")),
        ("umount /sys/kernel/debug/tracing /sys/kernel/tracing; umount /sys/kernel/debug", ("tracefs", "mount")),
        ("rm /opt/lab/lib/python3*/site-packages/bcc", ("BCC", "python3-bpfcc")),
    ],
)
def test_host_mode_with_something_missing(person, break_it, words):
    """In the VM, which is a machine that could: each thing it needs is taken away, and asked for by name."""
    script = f"""{break_it}
EBPF_LAB=host python - <<'PYTHON'
{IN_THE_NOTEBOOK}
PYTHON"""
    told = person.in_guest(script)
    assert "Host mode cannot trace here" in told
    for word in words:
        assert word in told


def test_cache_that_cannot_be_written(person):
    done = person.lab("build", environment={"EBPF_LAB_CACHE": "/proc/first-ebpf"})
    assert done.returncode != 0
    assert "cannot be written" in done.stderr and "EBPF_LAB_CACHE" in done.stderr and "Traceback" not in done.stderr


def test_a_new_cache_is_closed_to_others(person):
    """In it lie the memory of machines and the files by which Jupyter reaches its kernels."""
    folder = person.cache / "elsewhere"
    person.lab("status", environment={"EBPF_LAB_CACHE": str(folder)})
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk of one's own needs root")
def test_disk_full_while_building(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    build = f"{sys.executable} -m helpers.lab build > {tmp_path}/said"
    script = f"mount -t tmpfs -o size=30m tmpfs {small} && {build}; ls -A {small}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, "EBPF_LAB_CACHE": str(small)},
        capture_output=True,
        text=True,
    )
    assert "is full" in done.stderr and "EBPF_LAB_CACHE" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout.split() == ["first-ebpf-lock"]
