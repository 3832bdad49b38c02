"""What `make` does first: python3 -m helpers.lab.setup ENVIRONMENT packages | python | vm | lab | lint | lock [GROUP …]

    packages   the Debian packages that the virtual machine takes, and those of the groups of binder/apt.txt named
    python     these, and the Python environment that opens the notebooks
    vm         these, and the virtual machine
    lab        what the notebooks need here: all of that, or what BCC needs on this machine's own kernel
    lint, lock the Python environment of the two make targets

What is there is left as it is. It begins with the system's Python, which makes the environment, and goes on in there;
what does not need each other is done side by side.
"""

import contextlib
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

from . import LabError, building, cache, causes, choose, debian

# Large, and not needed before the virtual machine boots.
LATER = {"qemu-system-x86"}
# The lists in pyproject.toml that the Python environment is made of. Where the VM runs a notebook, it has what that
# needs.
PYTHON_LISTS = {
    "vm": ["lab"],
    "own": ["lab", "dependencies"],
    "python": ["lab", "dependencies"],
    "class": ["classroom"],
    "container": ["classroom"],
    "test": ["dependencies", "classroom", "test", "browser", "book"],
    "binder": ["browser", "classroom", "binder"],
    "book": ["book"],
    "lint": ["dependencies", "lab", "lint"],
    "lock": ["lock"],
}
CLEAR = "\r\033[K"  # the line on a terminal


class Step:
    """Something to do: its name, the seconds that it takes on two cores, and when it began and ended."""

    def __init__(self, name: str, seconds: float):
        self.name, self.seconds, self.began, self.ended = name, seconds, 0.0, 0.0

    def says(self, text: str) -> None:
        """Pass on what the step itself says: what it does now, for the line; anything else at once."""
        name, about, _ = text.partition(" (about")
        if about:
            self.name = name
        else:
            print(f"{CLEAR if sys.stderr.isatty() else ''}  {text} …", file=sys.stderr, flush=True)

    def left(self) -> float:
        """Return about how many seconds it will take from now."""
        if self.ended or not self.began:
            return 0 if self.ended else self.seconds
        return max(self.seconds - (time.time() - self.began), self.seconds / 10)


class Progress:
    """One line on a terminal that says what is going on, how far it is and how long still; elsewhere a line a step."""

    WIDTH = 20

    def __init__(self, machine: bool):
        self.apt = Step("Debian packages", 15)
        self.later = Step("more Debian packages", 25)
        self.python = Step("Python packages", 50)
        self.disk = Step("the virtual machine's disk", 85)
        self.boot = Step("the virtual machine's first boot", 45)
        self.steps = [self.apt, self.later, self.python, self.disk, self.boot]
        if not machine:
            self.disk.ended = self.boot.ended = time.time()
        # Kept when the environment's Python takes over.
        self.since = float(os.environ.setdefault("EBPF_LAB_SETUP_SINCE", str(time.time())))
        self.live, self.over = sys.stderr.isatty(), threading.Event()

    def left(self) -> float:
        """Return about how many seconds are left: what runs side by side takes as long as its longest."""
        apt, later, python, disk, boot = (step.left() for step in self.steps)
        return apt + max(python, max(later, disk) + boot)

    def do(self, step: Step, task: Callable[[], object]) -> None:
        """Take a step, and note when it began and ended."""
        step.began = time.time()
        if not self.live:
            print(f"  {step.name} (about {step.seconds:.0f} s) …", file=sys.stderr, flush=True)
        task()
        step.ended = time.time()
        if not self.live:
            print(f"  {step.name}: done, after {step.ended - step.began:.0f} s", file=sys.stderr, flush=True)

    def draw(self) -> None:
        """Print the line over the one before."""
        gone, left = time.time() - self.since, self.left()
        part = gone / (gone + left)
        bar = ("#" * round(self.WIDTH * part)).ljust(self.WIDTH, "-")
        names = ", ".join(step.name for step in self.steps if step.began and not step.ended)
        minutes, seconds = divmod(round(left), 60)
        line = f"  [{bar}] {part:4.0%}, about {minutes}:{seconds:02} left: {names}"
        print(CLEAR + line[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)

    def _keep_drawing(self) -> None:
        while not self.over.wait(0.5):
            self.draw()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the line up to date while the block runs, and clear it then."""
        thread = threading.Thread(target=self._keep_drawing, daemon=True)
        if self.live:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            if self.live:
                thread.join()
                print(CLEAR, end="", file=sys.stderr, flush=True)


def filled(venv: Path) -> set[str]:
    """Return the lists in pyproject.toml whose packages are in the environment; each leaves a file there."""
    return {file.name.removeprefix("ready-") for file in venv.glob("ready-*")}


def wanted(what: str, groups: list[str], venv: Path) -> set[str]:
    """Return the lists in pyproject.toml whose packages are still to come into the environment."""
    return {name for group in [what, *groups] for name in PYTHON_LISTS[group]} - filled(venv)


def python_packages(venv: Path, lists: set[str]) -> None:
    """Add the packages of these lists to the environment.

    Raises:
        LabError: a list is not locked, or a package cannot be downloaded.
    """
    from . import requirements

    pip = [
        str(venv / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
    ]
    locks = [f"--requirement={requirements.lock(name)}" for name in sorted(lists)]
    causes.run([*pip, *locks], "Python packages could not be installed")
    # BCC is one directory of pure Python over a C library; linking it keeps Debian's other packages out.
    bcc = next(venv.glob("lib/python3*/site-packages")) / "bcc"
    if not bcc.is_symlink():
        bcc.symlink_to("/usr/lib/python3/dist-packages/bcc")
    for name in lists:
        (venv / f"ready-{name}").touch()


def begin(what: str, groups: list[str], venv: Path) -> None:
    """Do with the system's Python what has to come first, then become the environment's Python and finish()."""
    debian.here()
    if what == "lab":
        what = "own" if choose.mode(soon={"headers", "BCC"}) == "host" else "vm"
    foreign = [] if platform.machine() == "x86_64" else ["foreign"]
    first = debian.packages("host") if what in ("own", "lint", "lock") else debian.packages("host", "vm", *foreign)
    own = debian.packages("own") + debian.headers() if what == "own" else []
    names = debian.missing(first + debian.packages(*groups) + own)
    progress = Progress(what == "vm")
    if names and not debian.ask_for_root(names):
        print("  sudo does not remember the password here, so it asks once more, to install them:", file=sys.stderr)
        progress.do(progress.apt, lambda: debian.install(names, progress.since, ask=True))
        names = []
    soon = [name for name in names if name in first and name not in LATER]
    later = [name for name in names if name not in soon]
    with progress.shown():
        if soon:
            progress.do(progress.apt, lambda: debian.install(soon, progress.since))
        if what == "packages":
            return debian.install(later, progress.since) if later else None
        if wanted(what, groups, venv):
            # Held until the process ends, as the environment's Python too: nobody else fills the environment meanwhile.
            held = building.lock(cache.directory() / "first-ebpf-python-lock", progress.python.says)
            os.set_inheritable(held, True)
        if not filled(venv):
            progress.python.began = time.time()
            shutil.rmtree(venv, ignore_errors=True)
            causes.run([sys.executable, "-m", "venv", venv], "Python could not make an environment of its own")
    with contextlib.suppress(OSError):
        os.utime(venv)  # see template.prune(); in a class it may be root's
    python = str(venv / "bin/python")
    os.execv(python, [python, "-m", "helpers.lab.setup", str(venv), what, "--go-on", *groups, "--later", *later])


def finish(what: str, groups: list[str], later: list[str], venv: Path) -> None:
    """Do the rest side by side. *later* are Debian packages that are still missing."""
    from . import image, session, template

    suite, progress = session.suite(), Progress(what == "vm")
    tasks: dict[Step, Callable[[], object]] = {}
    if later:
        tasks[progress.later] = lambda: debian.install(later, progress.since)
    if lists := wanted(what, groups, venv):
        tasks[progress.python] = lambda: python_packages(venv, lists)
    if what == "vm" and not image.target(suite).exists():
        causes.enough_room({cache.directory(): 3, image.work(): 2})
        causes.user_namespaces()
        tasks[progress.disk] = lambda: image.ensure(suite, progress.disk.says)
    boots = what == "vm" and bool(tasks or not template.find(suite))
    for step in set(progress.steps) - tasks.keys() - ({progress.boot} if boots else set()):
        step.ended = time.time()
    if not tasks and not boots:
        return

    def boot(before: dict[Step, Future[None]]) -> None:
        for step in before.keys() & {progress.later, progress.disk}:
            before[step].result()
        if not any(future.done() and future.exception() for future in before.values()):
            progress.do(progress.boot, lambda: template.ensure(suite, progress.boot.says))

    with progress.shown(), ThreadPoolExecutor() as pool:
        begun = {step: pool.submit(progress.do, step, task) for step, task in tasks.items()}
        futures = [*begun.values(), *([pool.submit(boot, begun)] if boots else [])]
        try:
            for future in as_completed(futures):
                future.result()
        except LabError as error:
            # Said at once; mmdebstrap leaves nothing behind when it may end by itself.
            said = f"{error}\nWhat runs beside it ends first …"
            print((CLEAR if progress.live else "") + said, file=sys.stderr, flush=True)
            sys.exit(1)
        except KeyboardInterrupt:
            # Programs that install have heard it, too, and end; a machine that boots has not, and ends with us.
            wait(begun.values())
            print(CLEAR if progress.live else "", file=sys.stderr, flush=True)
            os._exit(130)
    minutes, seconds = divmod(round(time.time() - progress.since), 60)
    print(f"  Everything is set up, after {minutes} min {seconds} s.", file=sys.stderr)


def main(arguments: list[str]) -> None:
    """Begin, or go on in the environment's Python."""
    venv, what, *rest = arguments
    if "class" in rest:
        os.umask(0o022)  # students read what is built for them, whatever root's umask is
    if rest[:1] == ["--go-on"]:
        split = rest.index("--later")
        finish(what, rest[1:split], rest[split + 1 :], Path(venv))
    else:
        begin(what, rest, Path(venv))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LabError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)
