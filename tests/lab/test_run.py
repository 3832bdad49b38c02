"""python -m helpers.lab run, and what the guest can reach."""

import os
import socket
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def test_status_output_and_timeout(person):
    done = person.lab("run", "--", "sh", "-c", "echo out; echo error >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")
    assert person.lab("run", "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert person.lab("run", "--", "no-such-program").returncode == 127
    done = person.lab("run", "--timeout", "4", "--", "sleep", "60")
    assert done.returncode == 124 and "Stopped after 4 s" in done.stderr


def test_much_output_at_once(person):
    """More than the guest's port takes at a time, in both streams."""
    code = "import os; os.write(1, b'x' * 3_000_000); os.write(2, b'y' * 100_000)"
    done = person.lab("run", "--", "python", "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x" * 3_000_000, "y" * 100_000)


def test_output_streams_while_the_command_runs(person):
    process = person.start(
        sys.executable, "-m", "helpers.lab", "run", "--", "sh", "-c", "echo first; sleep 600", stdout=-1
    )
    assert process.stdout.readline() == "first\n"
    process.terminate()
    process.wait(timeout=10)


def test_output_that_nobody_reads_any_more(person):
    done = person.run("sh", "-c", '"$0" -m helpers.lab run -- yes | head -n 1', sys.executable)
    assert (done.stdout, done.stderr) == ("y\n", "")


def test_guest_is_a_stock_machine_that_can_trace(person):
    before = time.time()
    text = person.in_guest("id -u; uname -r; date +%s; python -m helpers.lab.machine")
    user, release, seconds, *_ = text.splitlines()
    assert user == "0" and "deb13" in release
    assert before - 1 <= int(seconds) <= time.time() + 1, "its clock is the one of the day when it was frozen"
    assert "can run every program of the course" in text


def test_guest_reaches_no_network(person):
    """QEMU's gateway stands for this machine; a server here hears nothing from the guest."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def listen():
            try:
                heard.append(server.accept())
            except OSError:
                pass

        threading.Thread(target=listen, daemon=True).start()
        port = server.getsockname()[1]
        text = person.in_guest(
            f"python -c \"import socket\ntry:\n socket.create_connection(('10.0.2.2', {port}), 5)\n print('reached')\n"
            "except OSError as error:\n print('refused', error)\""
        )
    assert text.startswith("refused") and not heard


def test_guest_writes_to_the_project_and_nowhere_else(person):
    outside = person.home / "outside"
    outside.write_text("secret")
    try:
        text = person.in_guest(
            f"echo made > made-in-guest; ls ..; cat {outside}; ln -s {outside} link; cat link; "
            "cat ../outside; echo tried > ../tried; true"
        )
        made = person.project / "made-in-guest"
        assert made.read_text() == "made\n"
        assert made.stat().st_uid == person.project.stat().st_uid
        assert "secret" not in text
        assert not (person.home / "tried").exists()
    finally:
        for path in (outside, person.project / "made-in-guest", person.project / "link"):
            path.unlink(missing_ok=True)


def test_kernel_ports_listen_on_loopback_only(person):
    addresses = person.python(
        """
        import json, psutil
        from tests.lab.kernels import LocalKernel, jupyter
        with jupyter(), LocalKernel() as kernel:
            family = [psutil.Process(kernel.launcher())]
            family += family[0].children(recursive=True)
            sockets = [c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN"]
        print(json.dumps(sockets))
        """
    )
    assert len(addresses) == 5 and set(addresses) == {"127.0.0.1"}


def test_everything_in_the_guest_can_be_killed(person):
    """kill -9 -1 ends the machine and nothing else."""
    done = person.lab("run", "--timeout", "60", "--", "sh", "-c", "kill -9 -1")
    assert done.returncode not in (0, 124)
    assert person.in_guest("echo alive") == "alive\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="a memory limit of one's own needs root")
def test_one_lab_works_under_two_gigabytes(person):
    """Binder's limit, by a memory cgroup around everything a lab starts."""
    v1 = "/sys/fs/cgroup/memory"
    root, limit = (v1, "memory.limit_in_bytes") if os.path.isdir(v1) else ("/sys/fs/cgroup", "memory.max")
    group = f"{root}/first-ebpf-test-{os.getpid()}"
    os.mkdir(group)
    try:
        with open(f"{group}/{limit}", "w") as file:
            file.write(str(2 << 30))
        join = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        inside, person.enter = person.enter, [*join, *person.enter]
        try:
            seen = person.python(
                """
                import json
                from tests.lab.kernels import HELLO, LocalKernel, jupyter
                with jupyter(), LocalKernel() as kernel:
                    for _ in range(4):
                        text = kernel.execute(HELLO + "bpf.cleanup()")
                    kernel.execute("import numpy, pandas; big = pandas.DataFrame(numpy.ones((1_000_000, 10)))")
                print(json.dumps(text))
                """,
                timeout=240,
            )
        finally:
            person.enter = inside
        assert seen == "sync Hello World!\n"
        peak = "memory.max_usage_in_bytes" if root == v1 else "memory.peak"
        print("peak MiB under the 2 GiB limit:", int(open(f"{group}/{peak}").read()) >> 20)
    finally:
        os.rmdir(group)


def test_host_mode_where_it_can_be(person):
    """Inside the VM is a machine with root, kprobes and headers: there the kernel runs without another VM."""
    text = person.in_guest(
        """EBPF_LAB= python - <<'PYTHON'
from helpers.lab import choose
from tests.lab.kernels import HELLO, LocalKernel, jupyter
with jupyter(), LocalKernel() as kernel:
    print(choose.mode(), kernel.execute("import os; print(os.environ['EBPF_LAB'])"))
    print(kernel.execute(HELLO))
PYTHON"""
    )
    assert text.split() == ["host", "host", "sync", "Hello", "World!"]
