"""Nobody gets in or out where they do not belong; beside each refusal, a control shows that the test would notice.

The classroom's tests say the same of students who share a computer.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.lab.person import UID, as_user, machines, memory_file
from tests.lab.test_server import jupyter_of

pytestmark = [
    pytest.mark.usefixtures("leaves_nothing"),
    pytest.mark.skipif(os.geteuid() != 0, reason="another user and another network need root"),
]


@contextlib.contextmanager
def another_computer():
    """A network namespace joined to this machine by a cable: gives a command's beginning in there, and our address."""
    name, ours = f"lab{os.getpid()}", "198.51.100.1"
    try:
        subprocess.run(
            f"""set -e
            ip netns add {name}
            ip link add {name} type veth peer name eth0 netns {name}
            ip address add {ours}/30 dev {name}
            ip link set {name} up
            ip -netns {name} address add 198.51.100.2/30 dev eth0
            ip -netns {name} link set eth0 up""",
            shell=True,
            check=True,
        )
        yield ["ip", "netns", "exec", name], ours
    finally:
        subprocess.run(["ip", "netns", "delete", name])


REACHED = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 5).close()
        print(port)
    except OSError:
        pass
"""


def test_another_computer_reaches_neither_jupyter_nor_a_machine(person, server):
    server.web.ask("/api/kernels", {"name": "ebpf"})
    with open_kernel(person) as kernel_ports, socket.create_server(("0.0.0.0", 0)) as control:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        ports = {c.laddr.port for p in family for c in p.net_connections("inet") if c.status == "LISTEN"} | kernel_ports
        assert len(ports) >= 6
        noticed = str(control.getsockname()[1])
        with another_computer() as (there, ours):
            command = [*there, "/usr/bin/python3", "-c", REACHED, ours, noticed, *map(str, ports)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [noticed]


@contextlib.contextmanager
def open_kernel(person):
    """A kernel whose channels are ports, as nbclient starts it; gives the ports."""
    code = """
    import json, sys
    from tests.lab.kernels import LocalKernel, jupyter
    with jupyter(), LocalKernel() as kernel:
        print(json.dumps(kernel.manager.ports), flush=True)
        sys.stdin.read()
    """
    process = person.start(
        sys.executable, "-c", code.replace("\n    ", "\n"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield set(json.loads(process.stdout.readline()))
    process.communicate(timeout=30)


def test_another_user_reaches_no_kernel(person, server):
    """Connection file, sockets, the machine's memory and that of its processes; the owner reaches all of them."""
    kernel = server.web.ask("/api/kernels", {"name": "ebpf"})["id"]
    jupyter = jupyter_of(server)
    runtime = jupyter.environ()["JUPYTER_RUNTIME_DIR"]
    deadline = time.monotonic() + 60
    while len(channels := list(Path(runtime).glob(f"kernel-{kernel}-ipc-*"))) < 5:
        assert time.monotonic() < deadline, "the channels are ports: is `unshare --user --net true` refused here?"
        time.sleep(0.1)
    (qemu,) = machines(jupyter)
    assert os.readlink(f"/proc/{qemu.pid}/ns/net") != os.readlink(f"/proc/{jupyter.pid}/ns/net")
    ram = memory_file(qemu)
    files = [f"{runtime}/kernel-{kernel}.json", ram, f"/proc/{qemu.pid}/mem", f"/proc/{jupyter.pid}/environ"]
    code = f"""
import socket
for path in {files}:
    try:
        open(path, "rb").close()
        print("read", path)
    except OSError:
        pass
for path in {[str(path) for path in channels]}:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("connected", path)
    except OSError:
        pass
"""
    inside = person.enter[: -len(as_user(UID))]
    for user, number in ((UID, len(files + channels)), (UID + 1, 0)):
        command = [*inside, *as_user(user), "/usr/bin/python3", "-c", code]
        reached = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(reached) == number, reached


# Run in a machine, as root; prints the addresses from which something came back.
KNOCK = """
import socket
for address, port in ("10.0.2.2", PORT), ("10.0.2.3", 53):
    try:
        with socket.create_connection((address, port), SECONDS) as tcp:
            tcp.settimeout(SECONDS)
            assert tcp.recv(9) == b"here"
            print("tcp", address)
    except (OSError, AssertionError):
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.sendto(b"knock", (address, port))
        try:
            udp.recv(9)
            print("udp", address)
        except OSError:
            pass
"""
# The same machine as `helpers.lab run` starts it, but for one word.
UNLOCKED = """
import subprocess, sys
from helpers.lab import session
start = subprocess.Popen
def unlocked(command, **options):
    return start([part.replace("restrict=on", "restrict=off") for part in command], **options)
subprocess.Popen = unlocked
sys.exit(session.run(["python", "-c", sys.argv[1]], 60))
"""


def test_a_machine_reaches_nothing_through_its_gateway(person, tmp_path):
    """10.0.2.2 stands for this machine and 10.0.2.3 for its name server, which we say is this machine too."""
    names = person.home / "resolv.conf"
    names.write_text(f"nameserver {NAME_SERVER}\n")
    inside = person.enter[: -len(as_user(UID))]
    subprocess.run([*inside, "mount", "--bind", names, "/etc/resolv.conf"], check=True)
    try:
        heard = []
        with answering("127.0.0.1", 0, heard) as port, answering(NAME_SERVER, 53, heard):
            knock = KNOCK.replace("PORT", str(port))
            locked = person.lab("run", "--timeout", "60", "--", "python", "-c", knock.replace("SECONDS", "4"))
            assert (locked.returncode, locked.stdout, heard) == (0, "", []), locked.stderr
            control = person.run(sys.executable, "-c", UNLOCKED, knock.replace("SECONDS", "30"))
            assert set(control.stdout.split("\n")) - {""} == {
                *("tcp 10.0.2.2", "udp 10.0.2.2", "tcp 10.0.2.3", "udp 10.0.2.3")
            }, control.stderr
            assert len(heard) == 4
    finally:
        subprocess.run([*inside, "umount", "/etc/resolv.conf"], check=True)


NAME_SERVER = "127.0.0.77"


@contextlib.contextmanager
def answering(address: str, port: int, heard: list):
    """Answer whoever comes over TCP or UDP, and note it; gives the port."""
    with socket.create_server((address, port)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())
        threading.Thread(target=answer_tcp, args=[tcp, heard], daemon=True).start()
        threading.Thread(target=answer_udp, args=[udp, heard], daemon=True).start()
        yield udp.getsockname()[1]


def answer_tcp(server, heard):
    with contextlib.suppress(OSError):
        while True:
            connection, who = server.accept()
            heard.append(who)
            connection.sendall(b"here")
            connection.close()


def answer_udp(server, heard):
    with contextlib.suppress(OSError):
        while True:
            _, who = server.recvfrom(9)
            heard.append(who)
            server.sendto(b"here", who)


def test_links_and_devices_lead_nowhere_outside_the_project(person):
    """Links are followed in the guest, where there is no such file; a device node is the guest's own device."""
    outside, project = person.home / "outside", person.project
    trap = project / "trap"
    trap.mkdir()
    try:
        outside.write_text("secret")
        (trap / "inside").write_text("secret")
        for name, target in {
            "absolute": str(outside),
            "relative": "../../outside",
            "chain": "relative",
            "root": "/",
            "up": "..",
            "control": "inside",
        }.items():
            (trap / name).symlink_to(target)
        number = Path(f"/sys/block/{disk()}/dev").read_text().strip()
        os.mknod(trap / "disk", 0o666 | 0o060000, os.makedev(*map(int, number.split(":"))))
        os.chmod(trap / "disk", 0o666)
        for path in (trap, *trap.iterdir()):
            os.chown(path, UID, UID, follow_symlinks=False)
        read = "head -c 65536 trap/disk 2>/dev/null | sha256sum"
        text = person.in_guest(
            f"""cat trap/control; echo
            for path in trap/absolute trap/relative trap/chain trap/root{outside} trap/up/../outside ../outside; do
                cat $path 2>/dev/null
            done
            echo; {read}
            mknod trap/made b {number.replace(":", " ")} 2>/dev/null && echo made
            mknod /tmp/control b {number.replace(":", " ")} && echo control"""
        )
        inside_said, outside_said, disk_said, *mknod_said = text.splitlines()
        assert inside_said == "secret" and outside_said == ""
        assert mknod_said == ["control"]
        on_host = person.run("sh", "-c", f"cd '{project}'; cat trap/relative; {read}").stdout
        assert on_host.startswith("secret") and len(on_host) > 70
        assert disk_said != on_host.removeprefix("secret").strip()
    finally:
        outside.unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", trap], check=True)


def disk() -> str:
    """The name of this machine's disk."""
    names = os.listdir("/sys/block")
    return min(name for name in names if not name.startswith(("loop", "ram", "zram", "sr")))
