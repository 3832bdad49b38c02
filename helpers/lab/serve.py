"""Open JupyterLab on the notebooks with the kernel `ebpf`, and leave nothing behind when it ends."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import cache

FIRST = "notebooks/00_start_here.ipynb"


def write_kernelspec(directory: Path) -> Path:
    """Write the kernel `ebpf` of this checkout below a Jupyter data directory, and return its folder."""
    folder = directory / "kernels/ebpf"
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [sys.executable, "-m", "helpers.lab.kernel", "{connection_file}"],
        "display_name": "eBPF lab",
        "language": "python",
        # A signal would reach the launcher, not the Python inside the virtual machine.
        "interrupt_mode": "message",
        "env": {"PYTHONPATH": str(cache.PROJECT)},
        "metadata": {"debugger": True},
    }
    (folder / "kernel.json").write_text(json.dumps(spec, indent=1))
    return folder


# No question about news over the first notebook; and a closed notebook gives back its virtual machine.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"kernelShutdown": True},
}


@contextlib.contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Give the environment in which Jupyter finds the kernel `ebpf`, with runtime files of its own that end with it."""
    runs = cache.directory() / "run"
    runs.mkdir(exist_ok=True)
    for leftover in runs.iterdir():
        if not Path("/proc", leftover.name.partition("-")[0]).exists():
            shutil.rmtree(leftover, ignore_errors=True)
    directory = tempfile.mkdtemp(dir=runs, prefix=f"{os.getpid()}-")
    try:
        write_kernelspec(Path(directory, "data"))
        settings = Path(directory, "config/labconfig/default_setting_overrides.json")
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(SETTINGS))
        yield {
            **os.environ,
            "JUPYTER_PATH": os.pathsep.join(filter(None, [f"{directory}/data", os.environ.get("JUPYTER_PATH")])),
            "JUPYTER_CONFIG_PATH": f"{directory}/config",
            "JUPYTER_RUNTIME_DIR": f"{directory}/runtime",
            "EBPF_LAB_CACHE": str(cache.directory()),
        }
    finally:
        # A kernel that is just ending removes its own file there: what vanishes meanwhile is no reason to stop.
        for _ in range(20):
            shutil.rmtree(directory, ignore_errors=True)
            if not os.path.exists(directory):
                break
            time.sleep(0.1)


def lab(arguments: list[str]) -> int:
    """Run JupyterLab in the project until it ends; return its exit status."""
    options = [
        f"--ServerApp.root_dir={cache.PROJECT}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        # The learner's own Python kernel has neither root nor BCC: one name to choose, and it works.
        "--KernelSpecManager.allowed_kernelspecs={'ebpf'}",
        "--KernelSpecManager.ensure_native_kernel=False",
        "--MultiKernelManager.default_kernel_name=ebpf",
        f"--FileCheckpoints.checkpoint_dir={cache.directory() / 'checkpoints'}",
        # Nothing here asks the network for extensions or news.
        "--LabApp.extension_manager=readonly",
    ]
    if os.geteuid() == 0:
        options += ["--allow-root", "--no-browser"]
    with environment() as env:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "jupyterlab", *options, *arguments], env=env
        )
        # Ctrl-C reaches JupyterLab as well, which asks whether it is meant; a request to end is passed on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        finally:
            give_back()


def give_back():
    """After `sudo make lab`, give the files that root made in the checkout to the person who owns it."""
    if os.geteuid() != 0:
        return
    owner = cache.PROJECT.stat()
    for folder, folders, files in os.walk(cache.PROJECT):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            if os.lstat(path).st_uid != owner.st_uid:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
