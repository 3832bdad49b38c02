"""A container as Binder's Kubernetes starts one: runc, an ordinary user, no capability, no new privileges, 2 GB."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from tests.binder import build

MEMORY = 2 * 2**30  # bytes; what Binder gives
SECCOMP = Path("/usr/share/containers/seccomp.json")


def seccomp() -> dict:
    """Return the system calls that container engines allow by default, for x86-64 and no capability."""
    profile = json.loads(SECCOMP.read_text())
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if "amd64" in includes.get("arches", ["amd64"]) and "caps" not in includes and "arches" not in excludes:
            keys = ("names", "action", "args", "errnoRet")
            rules.append({key: rule[key] for key in keys if rule.get(key) is not None})
    return {
        "defaultAction": profile["defaultAction"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }


class Memory:
    """What the container's processes use (bytes), looked at often, and the most of it since the last `reset`.

    Pages of files that were read or written are left out: the kernel takes those back when memory is short, and counts
    them up to the limit when it is not.
    """

    def __init__(self, group: str):
        old, new = Path("/sys/fs/cgroup/memory", group), Path("/sys/fs/cgroup", group)
        self.directory, self.names = (old, ("total_rss", "total_shmem")) if old.exists() else (new, ("anon", "shmem"))
        self.most, self.ended = 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _read(self, name: str) -> dict[str, int]:
        lines = (line.split() for line in (self.directory / name).read_text().splitlines())
        return {line[0]: int(line[1]) for line in lines if len(line) == 2}

    def _watch(self):
        while not self.ended.wait(0.1):
            stat = self._read("memory.stat")
            self.most = max(self.most, sum(stat.get(name, 0) for name in self.names))

    def killed(self) -> int:
        """Return how many processes were killed for want of memory."""
        name = "memory.events" if (self.directory / "memory.events").exists() else "memory.oom_control"
        return self._read(name)["oom_kill"]

    def end(self):
        self.ended.set()
        self.thread.join()


@contextmanager
def running(command: list[str]):
    """Run a command in a container of the image: give its :class:`Memory`, and the file with what it prints."""
    image = build.configuration()
    name = f"first-ebpf-{os.getpid()}"
    with build.container(build.NAME) as (_, root), tempfile.TemporaryDirectory() as bundle:
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
        path = Path(bundle, "config.json")
        spec = json.loads(path.read_text())
        spec["root"] = {"path": str(root), "readonly": False}
        spec["process"] |= {
            "terminal": False,
            "args": [*image["Entrypoint"], *command],
            "env": image["Env"],
            "cwd": image["WorkingDir"],
            "user": {"uid": int(image["User"]), "gid": int(image["User"])},
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in spec["process"]["capabilities"]},
            "rlimits": [],
        }
        # It shares this process's network, in which there is nothing but loopback.
        spec["linux"]["namespaces"] = [space for space in spec["linux"]["namespaces"] if space["type"] != "network"]
        spec["linux"] |= {"cgroupsPath": f"/{name}", "seccomp": seccomp()}
        spec["linux"]["resources"]["memory"] = {"limit": MEMORY, "swap": MEMORY}
        path.write_text(json.dumps(spec))
        # The container is a fresh copy of the image here: what is still on its way to the disk would slow it down.
        os.sync()

        runc = ["runc", "--root", f"{bundle}/state"]
        said = Path(bundle, "said")
        with said.open("wb") as output:
            start = [*runc, "run", "--bundle", bundle, name]
            process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        memory = None
        try:
            while not Path(bundle, "state", name, "state.json").exists() and process.poll() is None:
                time.sleep(0.01)
            memory = Memory(name)
            yield memory, said
        finally:
            if memory:
                memory.end()
            subprocess.run([*runc, "kill", name, "TERM"], check=False)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            subprocess.run([*runc, "delete", "--force", name], check=False, stderr=subprocess.DEVNULL)
