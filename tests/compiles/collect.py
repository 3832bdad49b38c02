"""python -m tests.compiles.collect FOLDER: print as JSON the programs that the BCC tools in a folder would compile."""

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

# What those need that do nothing without being told of what.
ARGUMENTS = {
    "argdist": ["-C", "p::vfs_read()"],
    "deadlock": [str(os.getpid())],
    "funccount": ["vfs_read"],
    "funcinterval": ["vfs_read"],
    "funclatency": ["vfs_read"],
    "funcslower": ["vfs_read"],
    "inject": ["kmalloc", "-P", "0.001", "mount_subtree()"],
    "stackcount": ["vfs_read"],
    "trace": ["vfs_read"],
    "ttysnoop": ["0"],
    "profile": ["-F", "49", "1"],
}


class Collected(BaseException):
    pass


def collect(tool: Path, file) -> None:
    """Run a tool up to where it compiles a program, and write that to a file; some go on and try another."""
    from bcc import BPF
    from bcc.libbcc import lib

    def compile_nothing(text, debug, cflags, count, *_):
        print(json.dumps([tool.name, text.decode(), [flag.decode() for flag in cflags[:count]]]), file=file)
        raise Collected

    lib.bpf_module_create_c_from_string = compile_nothing
    # What a tool asks of the kernel before it writes its program; any answer will do for that.
    BPF.get_kprobe_functions = staticmethod(lambda _: [b"vfs_read"])
    BPF.ksymname = staticmethod(lambda _: 1)
    BPF.tracepoint_exists = staticmethod(lambda *_: True)
    sys.argv = [str(tool), *ARGUMENTS.get(tool.name.removesuffix("-bpfcc"), [])]
    sys.path.insert(0, str(tool.parent))
    try:
        runpy.run_path(str(tool), run_name="__main__")
    except Collected:
        pass


def main(folder: str) -> None:
    import bcc  # noqa: F401 - once, for all of them

    found = []
    for tool in sorted(Path(folder).glob("*-bpfcc")):
        with tempfile.TemporaryFile("w+") as file:
            if not (child := os.fork()):
                silence = os.open(os.devnull, os.O_RDWR)
                for number in (0, 1, 2):
                    os.dup2(silence, number)
                try:
                    collect(tool, file)
                    file.flush()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            file.seek(0)
            programs = [json.loads(line) for line in file]
            found += programs
            if not programs:
                print(f"{tool.name}: no program", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
