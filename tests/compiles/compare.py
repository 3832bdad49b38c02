"""python -m tests.compiles.compare FILE: compile the programs in a JSON file twice, where the lab's BCC is.

Once with what stands in front of BCC's library (helpers/lab/libbcc.c), once by that library itself. Prints JSON, a line
for each program: its name, the precompiled header, the two outcomes if they differ, and whether they do so in the
numbers that messages give to the lines of clang's scratch space. How long they take is another question (tests/bench).
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

STOCK = next(Path("/usr/lib").glob("*/libbcc.so.0"), Path("/")).parent


def compiled(text: str, cflags: list[str]) -> dict:
    """Compile a program; return its code and tables, what it said and what was raised."""
    from bcc import BPF
    from bcc.libbcc import lib

    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]
    lib.bpf_table_name.restype, lib.bpf_table_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_size_t]
    outcome = {"code": {}, "tables": [], "error": None}
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            module = BPF(text=text, cflags=cflags).module
        except Exception as error:
            module, outcome["error"] = None, repr(error)
        said.seek(0)
        outcome["said"] = said.read().decode(errors="replace")
    if module:
        for number in range(lib.bpf_num_functions(module)):
            name = lib.bpf_function_name(module, number)
            code = ctypes.string_at(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))
            outcome["code"][name.decode()] = code.hex()
        for number in range(lib.bpf_num_tables(module)):
            of = [getattr(lib, f"bpf_table_{what}_id")(module, number) for what in ("type", "flags", "max_entries")]
            name = lib.bpf_table_name(module, number)
            of += [getattr(lib, f"bpf_table_{what}_desc")(module, name) for what in ("key", "leaf")]
            outcome["tables"].append(repr([name, *of]))
    return outcome


def all_compiled(programs: list) -> None:
    """Compile each program in a process of its own, which has compiled before; print the outcomes as JSON lines."""
    from bcc import BPF
    from bcc.libbcc import lib

    BPF(text="")
    ask = getattr(lib, "bcc_precompiled", None)
    if ask:
        ask.restype = ctypes.c_char_p
    for _, text, cflags in programs:
        with tempfile.TemporaryFile("w+") as file:
            if not (child := os.fork()):
                stderr = os.dup(2)
                try:
                    json.dump(compiled(text, cflags), file)
                    file.flush()
                    os._exit(0)
                except BaseException:
                    os.write(stderr, traceback.format_exc().encode())
                    os._exit(1)
            signal = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            file.seek(0)
            outcome = json.load(file) if not signal else {"ended by": signal}
        used = ask(text.encode(), 0, len(cflags)) if ask else None
        print(json.dumps(outcome | {"precompiled": used and used.decode()}), flush=True)


def main(file: str, only: str | None = None) -> None:
    programs = json.loads(Path(file).read_text())
    if only:
        return all_compiled(programs)
    stock, ours = (
        subprocess.Popen(
            [sys.executable, "-m", "tests.compiles.compare", file, which],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()}
            | ({"LD_LIBRARY_PATH": str(STOCK)} if which == "stock" else {}),
        )
        for which in ("stock", "ours")
    )
    for (name, *_), *pair in zip(programs, stock.stdout, ours.stdout, strict=True):
        pair = [json.loads(line) for line in pair]
        precompiled = [outcome.pop("precompiled") for outcome in pair][1]
        differ = pair if unnumbered(pair[0]) != unnumbered(pair[1]) else None
        print(
            json.dumps(
                {
                    "name": name,
                    "precompiled": precompiled,
                    "differ": differ,
                    "numbers": pair[0] != pair[1],
                    "compiles": pair[0].get("error", 1) is None,
                }
            ),
            flush=True,
        )


def unnumbered(outcome: dict) -> dict:
    """Leave out the line numbers of clang's scratch space, where tokens are pasted: they restart after some hundred."""
    said = re.sub(r"<scratch space>:\d+(:.*\n)( +\d+ \|)?", r"<scratch space>\1", outcome.get("said", ""))
    return outcome | {"said": said}


if __name__ == "__main__":
    main(*sys.argv[1:])
