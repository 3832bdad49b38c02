"""Many students on one computer, through the hub's HTTP interface, each with a virtual machine of their own."""

import contextlib
import http.cookiejar
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import nbformat
import psutil
import pytest

from helpers.lab import cache
from tests.classroom.school import FIRST_UID, NUMBER
from tests.jupyter import Server
from tests.lab.person import CACHE, COURSE, memory_file

NOTEBOOK = "01_hello_trace_pipe.ipynb"

MINE = """
from bcc import BPF
from helpers import detach_all
detach_all()
bpf = BPF(text='int mine(void *ctx) { bpf_trace_printk("I am NAME"); return 0; }')
bpf.attach_kprobe(event=bpf.get_syscall_fnname("sync"), fn_name="mine")
"""
FIRE = """
import os, subprocess, time
for _ in range(5):
    subprocess.run(["sync"])
    time.sleep(0.2)
pipe = os.open("/sys/kernel/tracing/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
print(os.read(pipe, 1 << 16).decode(), end="")
os.close(pipe)
"""

# Tried as a student on the server, against another's things: prints what succeeded.
REACH = """
import os, socket, sys
def tries(what, act):
    try:
        act()
        print(what)
    except OSError:
        pass
def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
runtime, memory, notebook_dir, cache, *pids = sys.argv[1:]
tries("list", lambda: os.listdir(runtime))
for name in FILES:
    tries("file", lambda: open(f"{runtime}/{name}").read())
for name in SOCKETS:
    tries("socket", lambda: connect(f"{runtime}/{name}"))
tries("memory", lambda: open(memory, "rb").read(1))
tries("notebook directory", lambda: os.listdir(notebook_dir))
for pid in pids:
    tries("process", lambda: open(f"/proc/{pid}/mem", "rb"))
    tries("environment", lambda: open(f"/proc/{pid}/environ", "rb").read(1))
    tries("open files", lambda: os.listdir(f"/proc/{pid}/fd"))
tries("template", lambda: open(cache + "/ram", "rb").read(1))
tries("change the template", lambda: open(cache + "/ram", "r+b"))
tries("change the cache", lambda: open(os.path.dirname(cache) + "/mine", "w"))
"""


@pytest.fixture(scope="module")
def students(school):
    """Everybody has notebook 01 open, and has opened it at the same time."""
    everybody(school.students, lambda student: student.open(NOTEBOOK))
    print("seconds until the first cell can run:", [round(student.kernel.ready, 1) for student in school.students])
    return school.students


def everybody(students, act) -> list:
    """Let all students do something at the same time; return what came of it."""
    with ThreadPoolExecutor(len(students)) as pool:
        return list(pool.map(act, students))


@pytest.mark.timeout(1500)
def test_all_run_notebook_01_at_once_and_see_their_own_events(students):
    """Its first program, or with WHOLE=1 all of it. Measures memory."""
    cells = nbformat.read(cache.PROJECT / "notebooks" / NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    if "WHOLE" not in os.environ:
        code = code[:4]
        assert "SIGINT" in code[-1].source

    def run(student):
        for cell in code:
            text, error = student.kernel.run(cell.source)
            assert not error or "raises-exception" in cell.metadata.get("tags", []), f"{student.name}: {error}"
            if "SIGINT" in cell.source:
                assert text.count("Hello World!") == 3, text
        student.kernel.execute(MINE.replace("NAME", student.name))

    everybody(students, run)
    together = threading.Barrier(len(students))

    def fire(student):
        together.wait()
        return student.kernel.execute(FIRE)

    for student, text in zip(students, everybody(students, fire), strict=True):
        said = [line.partition("bpf_trace_printk: ")[2] for line in text.splitlines()]
        assert said == [f"I am {student.name}"] * 5, text
    sizes = [memory(student) for student in students]
    print("MiB of each student, not shared with others:", [f"{total} (of it files {files})" for total, files in sizes])
    print("MiB available on this machine now:", psutil.virtual_memory().available >> 20)
    assert max(total - files for total, files in sizes) < 1000


def memory(student) -> tuple[int, int]:
    """MiB that a student's processes hold, what is shared divided by who shares it; and how much of it is files."""
    total = files = 0
    for process in student.processes():
        rollup = dict(line.split(":") for line in open(f"/proc/{process.pid}/smaps_rollup").read().splitlines()[1:])
        total += int(rollup["Pss"].split()[0])
        files += int(rollup["Pss_File"].split()[0])
    return total >> 10, files >> 10


def test_nobody_is_root_or_can_become_it(students):
    for student in students:
        processes = student.processes()
        assert any("qemu" in process.name() for process in processes)
        for process in processes:
            lines = open(f"/proc/{process.pid}/status").read().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            assert set(status["Uid"].split()) == {str(student.uid)}
            if "qemu" in process.name():
                assert status["NoNewPrivs"].strip() == "1" and int(status["CapEff"], 16) == 0


def test_another_student_reaches_nothing(students):
    """Neither connection file nor sockets, nor memory, nor files. The owner reaches each: the test would notice."""
    owner, other = students[0], students[1]
    jupyter, qemu = owner.process("jupyterhub-singleuser"), owner.process("qemu-system")
    runtime = jupyter.environ()["JUPYTER_RUNTIME_DIR"]
    names = os.listdir(runtime)
    sockets = [name for name in names if "-ipc-" in name]
    files = [name for name in names if name.endswith(".json")]
    assert len(sockets) == 5 and f"kernel-{owner.kernel.id}.json" in files
    ram = memory_file(qemu)
    (template,) = (owner.school.folder / CACHE).glob("template-*")
    code = f"FILES, SOCKETS = {files!r}, {sockets!r}\n{REACH}"
    arguments = [runtime, ram, owner.notebook_dir, template, jupyter.pid, qemu.pid]
    everything = {
        "list",
        "file",
        "socket",
        "memory",
        "notebook directory",
        "process",
        "environment",
        "open files",
        "template",
    }
    assert set(owner.python(code, *arguments).split("\n")) - {""} == everything
    # QEMU from 8.2 on maps the template itself, which holds nobody's secrets and which nobody can change.
    may = {"template"} | ({"memory"} if ram.startswith(str(template)) else set())
    assert set(other.python(code, *arguments).split("\n")) - {""} == may


def test_the_kernels_have_no_ports(students):
    """What listens on this machine for a student is their server, which asks the hub who comes."""
    for student in students:
        listening = [
            (process.name(), connection.laddr)
            for process in student.processes()
            for connection in process.net_connections("inet")
            if connection.status == "LISTEN" and same_network(process)
        ]
        assert len(listening) == 1 and listening[0][1].ip == "127.0.0.1", listening
    owner, other = students[0], students[1]
    assert owner.web.ask(f"/user/{owner.name}/api/kernels")[0]["id"] == owner.kernel.id
    for path in ("api/kernels", "api/contents", f"api/kernels/{owner.kernel.id}"):
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            other.web.ask(f"/user/{owner.name}/{path}")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        port = listening[0][1].port
        Server(f"http://127.0.0.1:{port}/user/{student.name}", token="").page("/api/kernels")


def same_network(process) -> bool:
    return os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net")


def test_kill_in_one_machine_hurts_nobody_else(students):
    """`kill -9 -1` as root in one's own machine: Jupyter starts that one again, and the others have noticed nothing."""
    victim, *others = students
    for student in others:
        student.kernel.execute("kept = 42")
    before = {student: {p.pid for p in student.processes()} for student in others}
    old = victim.process("qemu-system").pid
    victim.kernel.close()
    victim.kernel.connect()
    victim.kernel.send("import subprocess; subprocess.run(['sh', '-c', 'kill -9 -1'])")
    victim.wait(lambda: not psutil.pid_exists(old), 30)
    for student in others:
        assert student.kernel.execute("print(kept)") == "42\n"
        assert {p.pid for p in student.processes()} == before[student]
    victim.wait(lambda: victim.process("mem-path="), 60)
    victim.kernel.close()
    victim.kernel.connect()
    victim.kernel.execute("None")  # once this has ended, what the new kernel prints is heard
    assert victim.kernel.execute("print(6 * 7)") == "42\n"


def test_machines_go_on_when_the_hub_is_started_again(school, students):
    """As after a connection that was lost: the hub's terminal is gone, and it with it."""
    for student in students:
        student.kernel.execute("kept = 42")
    before = {student: {p.pid for p in student.processes()} for student in students}
    school.process.send_signal(signal.SIGHUP)
    school.process.wait(timeout=30)
    school.start()

    def reached(student):
        with contextlib.suppress(urllib.error.URLError):
            return student.web.ask(f"/user/{student.name}/api/kernels")

    for student in students:
        student.wait(partial(reached, student))
        student.kernel.close()
        student.kernel.connect()
        assert student.kernel.execute("print(kept)") == "42\n"
        assert {p.pid for p in student.processes()} == before[student]


def test_notebook_dir_keeps_the_students_work_and_gets_what_is_new(school, students):
    """A changed notebook stays, a removed one comes back, a new one is handed out, and the helpers are today's."""
    student, course = students[-1], school.folder / COURSE
    mine, removed = (
        student.notebook_dir / "notebooks" / NOTEBOOK,
        student.notebook_dir / "notebooks/02_trace_pipe_to_dataframe.ipynb",
    )
    mine.write_text("mine")
    removed.unlink()
    (student.notebook_dir / "helpers/draw/listing.py").write_text("spoilt")
    (course / "notebooks/08_handed_out.ipynb").write_text("{}")
    student.stop()
    student.wait(lambda: not student.processes(), 20)
    student.start()
    assert mine.read_text() == "mine"
    assert removed.read_text() == (course / "notebooks" / removed.name).read_text()
    assert (student.notebook_dir / "helpers/draw/listing.py").read_text() == (
        course / "helpers/draw/listing.py"
    ).read_text()
    assert (student.notebook_dir / "notebooks/08_handed_out.ipynb").stat().st_uid == student.uid
    assert student.notebook_dir.stat().st_mode & 0o777 == 0o700


def test_who_may_log_in(school, students):
    """With their password the students; with a wrong one, or from outside the group students, nobody."""
    subprocess.run([*school.inside, "useradd", "--uid", str(FIRST_UID + NUMBER), "stranger"], check=True)
    subprocess.run([*school.inside, "chpasswd"], input="stranger:secret", text=True, check=True)
    assert log_in(school, students[0].name, students[0].password) == 200
    assert log_in(school, students[0].name, "wrong") == 403
    assert log_in(school, "stranger", "secret") == 403


def log_in(school, name, password) -> int:
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    address = f"{school.web.address}/hub/login"
    browser.open(address, timeout=30).close()
    xsrf = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
    form = urllib.parse.urlencode({"username": name, "password": password, "_xsrf": xsrf}).encode()
    try:
        with browser.open(f"{address}?next=%2Fhub%2Fhome", form, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
