"""What the lab does not trust: QEMU to answer, and KVM to run a guest."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from helpers.lab import LabError, image, template, vm


def as_kvm(monkeypatch, cpu):
    """Let KVM be software emulation, as slow as that, of a CPU that has this name."""
    how, model = vm.ACCELERATORS["tcg"][:-1], vm.ACCELERATORS["tcg"][-1]
    monkeypatch.setitem(vm.ACCELERATORS, "kvm", [*how, f"{model},model-id={cpu}"])
    monkeypatch.setitem(template.BOOT, "kvm", template.BOOT["tcg"])


@pytest.fixture
def no_machine_stays():
    before = psutil.Process().children(recursive=True)
    yield
    deadline = time.monotonic() + 8
    while left := [child for child in psutil.Process().children(recursive=True) if child not in before]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def thaw(built, state=None):
    disk = image.target(image.DEFAULT_SUITE)
    return vm.VM(disk, built / "guest.py", "tcg", built / "ram", state or built / "state")


def test_an_error_while_a_machine_is_made_ends_qemu(built, no_machine_stays, monkeypatch):
    def fail(machine):
        assert machine.process.poll() is None
        raise KeyboardInterrupt

    monkeypatch.setattr(vm.VM, "ignore_shared_memory", fail)
    with pytest.raises(KeyboardInterrupt):
        thaw(built)


def test_a_monitor_that_never_answers(built, no_machine_stays, monkeypatch, tmp_path):
    """QEMU is stopped before its first instruction."""
    real = vm.qemu()
    stopped = tmp_path / "qemu-system-x86_64"
    stopped.write_text(f'#!/bin/sh\nkill -STOP $$\nexec {real} "$@"\n')
    stopped.chmod(0o755)
    monkeypatch.setattr(vm, "qemu", lambda: str(stopped))
    monkeypatch.setattr(vm, "DEADLINE", 0.5)
    with pytest.raises(LabError, match="QEMU did not answer qmp_capabilities within 0.5 s"):
        thaw(built)


def test_devices_that_never_come_to_an_end(built, no_machine_stays, monkeypatch, tmp_path):
    """The migration stream is a pipe into which nobody writes."""
    pipe = tmp_path / "state"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    monkeypatch.setattr(vm, "DEADLINE", 0.5)
    with (
        contextlib.closing(os.fdopen(writer)),
        pytest.raises(LabError, match="QEMU still says 'inmigrate'.*after 0.5 s"),
    ):
        thaw(built, pipe)


SET_UP = """
import signal, sys
from pathlib import Path
from helpers.lab import setup
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests
setup.finish("vm", [], [], Path(sys.prefix))
"""


def is_emulated(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(argument.startswith("tcg") for argument in process.cmdline()[1:])
    return False


def test_ctrl_c_during_the_first_boot(built, tmp_path):
    """It ends all at once, and is not taken for a machine that does not run."""
    disk = image.target(image.DEFAULT_SUITE)
    (tmp_path / disk.name).symlink_to(disk)
    command = [sys.executable, "-c", SET_UP]
    env = {**os.environ, "EBPF_LAB_CACHE": str(tmp_path)}
    with subprocess.Popen(command, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True) as terminal:
        deadline = time.monotonic() + 120
        # Where there is a /dev/kvm, it is tried first.
        while not (machines := [one for one in psutil.Process(terminal.pid).children() if is_emulated(one)]):
            assert terminal.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert os.getpgid(machines[0].pid) != terminal.pid
        os.killpg(terminal.pid, signal.SIGINT)
        said = terminal.communicate(timeout=30)[1]
    assert terminal.returncode == 130 and "Traceback" not in said
    machines[0].wait(timeout=30)
    assert not list(tmp_path.glob("kvm-fails-*"))


def test_a_guest_that_is_gone_before_it_is_told_anything(built, no_machine_stays):
    with thaw(built) as machine:
        machine.process.kill()
        machine.process.wait()
        with pytest.raises(LabError, match="QEMU ended"):
            while True:
                machine.send(hello=True)


# The agent of a guest that boots as any other does; thawed, and if its CPU says that it is KVM's, it spoils itself.
SPOILED = """
def spoil(before):
    def become(request):
        before(request)
        if "KVM" in open("/proc/cpuinfo").read():
            {spoil}
    return become


become = spoil(become)


if __name__ == "__main__":
"""
NO_PROBE_FIRES = 'open("/sys/kernel/debug/kprobes/enabled", "w").write("0")'
ENDS_AT_ONCE = 'open("/proc/sysrq-trigger", "w").write("b")'
# Which of them is chosen by a word in the name of the CPU, so that there is one guest by software emulation for both.
EITHER = f'{NO_PROBE_FIRES} if "probeless" in open("/proc/cpuinfo").read() else {ENDS_AT_ONCE}'


@pytest.fixture(scope="module")
def spoiled_cache(built, tmp_path_factory):
    """A cache with the disk image alone, and an agent that KVM's machines do not survive well."""
    folder = tmp_path_factory.mktemp("kvm, spoiled")
    disk = image.target(image.DEFAULT_SUITE)
    (folder / disk.name).symlink_to(disk)
    agent = folder / "guest.py"
    text = template.AGENT.read_text()
    agent.write_text(text.replace('\nif __name__ == "__main__":\n', SPOILED.format(spoil=EITHER)))
    return folder


@pytest.fixture
def spoiled(spoiled_cache, monkeypatch):
    monkeypatch.setenv("EBPF_LAB_CACHE", str(spoiled_cache))
    monkeypatch.setattr(template, "AGENT", spoiled_cache / "guest.py")
    monkeypatch.setattr(template, "kvm_opens", lambda: True)
    return spoiled_cache


@pytest.mark.parametrize(("cpu", "why"), [("KVM", "does not start"), ("KVM probeless", "no kernel probe fired")])
def test_a_machine_of_kvm_counts_only_after_a_trial(spoiled, no_machine_stays, monkeypatch, cpu, why):
    """The lab works all the same, by software emulation; one sentence says so, and KVM is not tried again."""
    as_kvm(monkeypatch, cpu)
    said = []
    built = template.ensure(image.DEFAULT_SUITE, said.append)
    assert said[:2] == [template.FIRST_BOOT["kvm"], template.KVM_FAILED]
    assert template.check(built)["accelerator"] == "tcg"
    assert why in template.kvm_verdict().read_text()
    assert not list(spoiled.glob("template-*-kvm-*"))
    template.try_out(built)
    said.clear()
    assert template.ensure(image.DEFAULT_SUITE, said.append) == built == template.find() and not said
    template.kvm_verdict().unlink()


def test_a_machine_of_kvm_whose_trial_goes_well(spoiled, no_machine_stays, monkeypatch):
    """The control: the same agent lets a CPU be that does not say KVM."""
    as_kvm(monkeypatch, "sound")
    made = template.ensure(image.DEFAULT_SUITE, lambda text: None)
    assert template.check(made)["accelerator"] == "kvm" and not template.kvm_verdict().exists()


# The launcher of a kernel, or the lab's command, for a machine whose /dev/kvm opens: all that it is told about that.
KVM_OPENS = """
import sys
from helpers.lab import __main__, kernel, template
template.kvm_opens = lambda: True
"""


@pytest.fixture
def trusted(person, built, tmp_path_factory):
    """A cache of the person's with a template that is said to be KVM's, and that cannot be thawed with it."""
    folder = person.cache.parent / "kvm, trusted"
    disk = image.target(image.DEFAULT_SUITE)
    person.run("mkdir", str(folder))
    for command in (["ln", "-s", person.cache / disk.name], ["cp", "-a", "--sparse=always", person.cache / built.name]):
        assert person.run(*command, folder).returncode == 0
    person.python(
        f"""
        import json
        exec({KVM_OPENS!r})
        template.location("trixie", "tcg").rename(template.location("trixie", "kvm"))
        file = template.location("trixie", "kvm") / "made.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {{"accelerator": "kvm"}}))
        print(json.dumps(template.find().name))
        """,
        environment={"EBPF_LAB_CACHE": str(folder)},
    )
    yield {"EBPF_LAB_CACHE": str(folder)}
    subprocess.run(["rm", "-rf", folder], check=True)


def test_a_thaw_that_fails_with_kvm_falls_back_in_a_notebook(person, trusted):
    """The first cell says so in one sentence, once; the next kernel does not try again."""
    seen = person.python(
        f"""
        import json, os, pathlib, sys
        from tests.lab.kernels import HELLO, LocalKernel, jupyter
        launcher = {KVM_OPENS!r} + "sys.exit(kernel.main(sys.argv[1]))"
        said = []
        with jupyter():
            spec = pathlib.Path(os.environ["JUPYTER_PATH"].split(os.pathsep)[0], "kernels/ebpf/kernel.json")
            argv = [sys.executable, "-c", launcher, "{{connection_file}}"]
            spec.write_text(json.dumps(json.loads(spec.read_text()) | {{"argv": argv}}))
            for _ in range(2):
                with LocalKernel(deadline=300) as kernel:
                    said.append([kernel.execute("print('first')"), kernel.execute(HELLO)])
        print(json.dumps(said))
        """,
        environment=trusted,
        timeout=500,
    )
    hello = "sync Hello World!\n"
    # Two streams, which may overtake each other.
    seen[0][0] = sorted(seen[0][0].splitlines())
    assert seen == [[[template.KVM_FAILED, "first"], hello], ["first\n", hello]]


def test_a_thaw_that_fails_with_kvm_falls_back_in_a_terminal(person, trusted):
    for expected in (1, 0):
        code = KVM_OPENS + "sys.exit(__main__.main())"
        done = person.run(sys.executable, "-c", code, "run", "--", "echo", "here", environment=trusted, timeout=500)
        assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
        assert done.stderr.count(template.KVM_FAILED) == expected
