"""python -m helpers.lab status | build | run -- COMMAND… | open | env -- COMMAND…"""

import argparse
import os
import shutil
import subprocess
import sys

from . import LabError, cache, choose, image, serve, session, template, vm


def main() -> int:
    """Return the exit status of what the command line asks for.

    Raises:
        LabError: it cannot be done.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.lab", description="The lab that the notebooks run in.")
    parser.add_argument("--suite", default=session.suite(), help="Debian release of the virtual machine")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("status", help="say what is there and where notebooks will run")
    build = actions.add_parser("build", help="build the virtual machine, unless it is there")
    build.add_argument("--again", action="store_true", help="build the frozen machine anew even if it is there")
    run = actions.add_parser("run", help="run a command in the lab, as root")
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="end the command after so long, with status 124")
    run.add_argument("command", nargs="+", metavar="COMMAND", help="after --, the command and its arguments")
    lab = actions.add_parser("open", help="open JupyterLab on the notebooks")
    lab.add_argument("arguments", nargs="*", metavar="OPTION", help="after --, options for JupyterLab")
    env = actions.add_parser("env", help="become a Jupyter server, with the lab's kernel and settings")
    env.add_argument("command", nargs="+", metavar="COMMAND", help="after --, the server's command and its arguments")
    options = parser.parse_args()

    if options.action == "status":
        return status(options.suite)
    if options.action == "build":
        return _build(options.suite, options.again)
    if options.action == "open":
        return serve.lab(options.arguments)
    if options.action == "env":
        serve.become(options.command)
    if choose.mode() == "host":
        try:
            return subprocess.run(options.command, timeout=options.timeout).returncode
        except subprocess.TimeoutExpired:
            return 124
        except OSError as error:
            raise LabError(f"{options.command[0]}: {error.strerror}.", "Name a command after --.") from error
    return session.run(options.command, options.timeout)


def _say(text: str) -> None:
    print(f"  {text} …", flush=True)


def _build(suite: str, again: bool) -> int:
    if again:
        try:
            if old := template.find(suite):
                shutil.rmtree(old)
            template.kvm_verdict().unlink(missing_ok=True)
        except PermissionError:
            raise cache.Unwritable(cache.directory()) from None
    print(f"The lab's virtual machine is ready: {template.ensure(suite, _say)}")
    return 0


def status(suite: str) -> int:
    """Return 0, the exit status, having said what is there and where notebooks will run."""
    print(f"notebooks run on   {(mode := choose.mode())}")
    print(f"cache              {cache.directory()}")
    if mode == "host":
        return 0
    disk, frozen = image.target(suite), template.find(suite)
    kvm = "opens and may be used" if template.usable_kvm() else "cannot be used"
    if template.kvm_verdict().exists():
        kvm = "opens, but does not run the lab's virtual machine; software emulation is used"
    print(f"QEMU               {vm.qemu_version()}")
    print(f"/dev/kvm           {kvm}")
    print(f"Debian image       {disk.name if disk.exists() else 'not built: make vm'}")
    print(f"frozen machine     {frozen.name if frozen else 'not built: make vm'}")
    if frozen:
        template.check(frozen)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(141)  # nobody reads what is printed any more, such as head(1)
