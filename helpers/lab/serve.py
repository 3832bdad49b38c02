"""Jupyter on the notebooks with the kernel `ebpf`: JupyterLab here, or a server that somebody else starts."""

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
from typing import NoReturn

from . import LabError, cache, sockets

FIRST = "notebooks/00_start_here.ipynb"


def write_kernelspec(directory: Path) -> Path:
    """Return the folder of the kernel `ebpf` of this checkout, written below a Jupyter data directory."""
    folder = directory / "kernels/ebpf"
    spec = {
        # -P: a file beside the notebook, such as a json.py, is none of the launcher's modules.
        "argv": [sys.executable, "-P", "-m", "helpers.lab.kernel", "{connection_file}"],
        "display_name": "eBPF lab",
        "language": "python",
        # A signal would reach the launcher, not the Python inside the virtual machine.
        "interrupt_mode": "message",
        "env": {"PYTHONPATH": str(cache.PROJECT)},
        "metadata": {"debugger": True},
    }
    _write_json(folder / "kernel.json", spec)
    return folder


# No question about news over the first notebook; and a closed notebook gives back its virtual machine.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"kernelShutdown": True},
}

# What JupyterLab shows before the learner has arranged anything: the list of notebooks, and the first one beside it.
WORKSPACE = {
    "metadata": {"id": "default"},
    "data": {
        "file-browser-filebrowser:cwd": {"path": str(Path(FIRST).parent)},
        f"notebook:{FIRST}": {"data": {"path": FIRST, "factory": "Notebook"}},
        "layout-restorer:data": {
            "main": {
                "dock": {"type": "tab-area", "currentIndex": 0, "widgets": [f"notebook:{FIRST}"]},
                "current": f"notebook:{FIRST}",
            },
            "left": {"collapsed": False, "visible": True, "current": "filebrowser", "widgets": ["filebrowser"]},
            "right": {"collapsed": True, "visible": True, "widgets": []},
        },
    },
}
RUNTIME_PARENT = "/tmp"  # where the runtime files lie: the path of a Unix socket has room for 107 characters
RUNTIME_PREFIX = "first-ebpf-"  # begins the names of the directories with runtime files


def runtime_directories() -> Iterator[Path]:
    """Return the directories with the runtime files of all servers on this machine, whoever started them."""
    return Path(RUNTIME_PARENT).glob(f"{RUNTIME_PREFIX}[0-9]*-*")


def options() -> dict[str, dict[str, object]]:
    """Return the configuration of the Jupyter server, by class."""
    return {
        "ServerApp": {"root_dir": str(cache.notebook_dir())},
        # Nothing here asks the network for extensions or news.
        "LabApp": {"default_url": f"/lab/tree/{FIRST}", "extension_manager": "readonly"},
        # The learner's own Python kernel has neither root nor BCC: one name to choose, and it works.
        "KernelSpecManager": {"allowed_kernelspecs": ["ebpf"], "ensure_native_kernel": False},
        "MultiKernelManager": {"default_kernel_name": "ebpf"},
        # A port of 127.0.0.1 is open to everybody on this machine, a file need not be.
        "KernelManager": {"transport": "ipc" if sockets.possible() else "tcp"},
    }


def prepare() -> tuple[Path, dict[str, str]]:
    """Return a new directory with what Jupyter needs to find the kernel `ebpf`, and the environment that leads there.

    The directory carries this process's number, and the next call removes it once there is no such process.
    """
    for leftover in runtime_directories():
        # Somebody else's server may just be ending, and its directory vanish.
        with contextlib.suppress(FileNotFoundError):
            ours = leftover.lstat().st_uid == os.geteuid()
            if ours and not Path("/proc", leftover.name.removeprefix(RUNTIME_PREFIX).partition("-")[0]).exists():
                shutil.rmtree(leftover, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{RUNTIME_PREFIX}{os.getpid()}-", dir=RUNTIME_PARENT))
    write_kernelspec(directory / "data")
    _write_json(directory / "config/labconfig/default_setting_overrides.json", SETTINGS)
    _write_json(directory / "config/jupyter_server_config.json", options())

    def before(name: str, path: Path) -> str:
        return os.pathsep.join(filter(None, [str(path), os.environ.get(name)]))

    return directory, {
        **os.environ,
        "JUPYTER_PATH": before("JUPYTER_PATH", directory / "data"),
        "JUPYTER_CONFIG_PATH": before("JUPYTER_CONFIG_PATH", directory / "config"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "JUPYTERLAB_WORKSPACES_DIR": str(workspaces()),
        "EBPF_LAB_CACHE": str(cache.directory()),
    }


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def workspaces() -> Path:
    """Return the directory in which JupyterLab keeps its workspaces: what was open, and how it was arranged."""
    return cache.own() / "first-ebpf-workspaces"


def arrange() -> None:
    """Write JupyterLab's first workspace, unless the learner has one already."""
    # Not in the virtual machine, where the rest of this module runs too.
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    manager = WorkspacesManager(str(workspaces()))
    if not manager.load("default")["data"]:
        manager.save("default", json.dumps(WORKSPACE))


@contextlib.contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Give the environment in which Jupyter finds the kernel `ebpf`, with runtime files of its own that end with it.

    Yields:
        The names and values of its variables.
    """
    directory, env = prepare()
    try:
        yield env
    finally:
        # A kernel that is just ending removes its own file there: what vanishes meanwhile is no reason to stop.
        for _ in range(20):
            shutil.rmtree(directory, ignore_errors=True)
            if not os.path.exists(directory):
                break
            time.sleep(0.1)


def become(command: list[str]) -> NoReturn:
    """Become a Jupyter server that somebody else starts (Binder, a hub, an editor), with the lab's kernel and settings.

    Raises:
        LabError: there is no such command.
    """
    # The command that belongs to this Python, before any other of that name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(command[0], path=path)
    if program is None:
        raise LabError(f"There is no command {command[0]}.", "Name one of Jupyter's, such as jupyter-lab.")
    arrange()
    _, env = prepare()
    os.execve(program, command, {**env, "PATH": path})


def lab(arguments: list[str]) -> int:
    """Return JupyterLab's exit status, when it has ended."""
    arrange()
    root = ["--allow-root", "--no-browser"] if os.geteuid() == 0 else []
    with environment() as env:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "jupyterlab", *root, *arguments], env=env
        )
        # Ctrl-C reaches JupyterLab as well, which asks whether it is meant; a request to end is passed on, and that of
        # a terminal that is closed, or of a connection that is gone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for request in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(request, lambda *_: server.terminate())
        try:
            return server.wait()
        finally:
            give_back()


def give_back() -> None:
    """After `sudo make lab`, give the files that root made in the checkout to the person who owns it."""
    if os.geteuid() != 0:
        return
    owner = cache.PROJECT.stat()
    for folder, folders, files in os.walk(cache.PROJECT):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_uid == 0 != owner.st_uid:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
