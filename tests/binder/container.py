"""A container as Kubernetes starts one, by runc: Binder's (an ordinary user, no capability, no new privileges, 2 GB),
or the one that a pod describes.

Not by podman, which sets limits of its own (RLIMIT_NPROC) that root may not set without CAP_SYS_RESOURCE, as where CI
is a container itself.
"""

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
    """What the container's processes use (bytes), looked at often, and the most of it.

    Pages of files that were read or written are left out: the kernel takes those back when memory is short, and counts
    them up to the limit when it is not.
    """

    def __init__(self, group: str, limit: int):
        self.limit = limit
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


def as_pod(spec: dict, pod: dict, image: dict, storage: Path) -> None:
    """Make of runc's description of a container what a cluster makes of a pod's; volumes are folders in *storage*."""
    (notebook,) = pod["spec"]["containers"]
    may, limits = notebook["securityContext"], notebook["resources"]["limits"]
    group = pod["spec"]["securityContext"]["fsGroup"]
    spec["root"]["readonly"] = may["readOnlyRootFilesystem"]
    spec["process"] |= {
        "args": [*image["Entrypoint"], *notebook["args"]],
        "env": [*image["Env"], *(f"{variable['name']}={variable['value']}" for variable in notebook["env"])],
        "user": {"uid": may["runAsUser"], "gid": int(image["User"]), "additionalGids": [group]},
        "noNewPrivileges": not may["allowPrivilegeEscalation"],
    }
    if may["capabilities"]["drop"] != ["ALL"]:
        spec["process"]["capabilities"]["bounding"] = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_NET_RAW"]
    mounts = {mount["mountPath"]: mount["name"] for mount in notebook["volumeMounts"]}
    if pod["spec"].get("automountServiceAccountToken", True):
        mounts["/var/run/secrets/kubernetes.io/serviceaccount"] = "token"
    for path, name in mounts.items():
        volume = storage / name
        volume.mkdir()
        os.chown(volume, 0, group)
        volume.chmod(0o2775)
        spec["mounts"].append({"destination": path, "source": str(volume), "type": "bind", "options": ["bind", "rw"]})
    spec["linux"]["resources"] |= {
        "memory": {"limit": limits["memory"], "swap": limits["memory"]},
        "cpu": {"quota": int(limits["cpu"] * 100_000), "period": 100_000},
    }


@contextmanager
def running(command: list[str], pod: dict | None = None):
    """Run a command in a container of the image, or what a *pod* says.

    Gives the container's :class:`Memory`, the file with what it prints, and the number of its first process.
    """
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
        if pod:
            as_pod(spec, pod, image, Path(bundle))
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
            memory = Memory(name, spec["linux"]["resources"]["memory"]["limit"])
            listed = subprocess.run([*runc, "ps", "--format=json", name], stdout=subprocess.PIPE, check=True)
            yield memory, said, min(json.loads(listed.stdout))
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
