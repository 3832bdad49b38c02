"""python -m tests.lab.beside_opensnoop TOOL PROGRAM: BCC's opensnoop (a file) and 08's program watch a process.

Prints JSON: what each of them says of the files that a Python opens as it starts: descriptor or -1, error, path.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from helpers import RingBuffer

COMMAND = ["/usr/bin/python3", "-c", "import json"]


def main(tool: str, program: str) -> None:
    from bcc import BPF

    bpf = BPF(text=Path(program).read_text())
    with tempfile.NamedTemporaryFile("r") as said:
        with subprocess.Popen([sys.executable, "-u", tool], stdout=open(said.name, "w")) as snoop:
            lines = until_seen("/var/tmp/begin", said, snoop)
            wait = ["sh", "-c", 'read go; exec "$@"', "sh", *COMMAND]
            process = subprocess.Popen(wait, stdin=subprocess.PIPE, env={"LC_ALL": "C"})
            with RingBuffer(bpf["events"]) as events:
                bpf["only"][ctypes.c_int(0)] = ctypes.c_uint(process.pid)
                process.communicate(b"go")
            lines = until_seen("/var/tmp/end", said, snoop)
            snoop.terminate()  # an interrupt would be lost in its callback
    rows = [line.split(maxsplit=4) for line in lines]
    theirs = [[int(row[2]), int(row[3]), row[4]] for row in rows if row[0] == str(process.pid) and row[1] != "sh"]
    df = events.to_dataframe().query("call == 'open'")
    ours = [[max(ret, -1), max(-ret, 0), path] for ret, path in zip(df["ret"].tolist(), df["path"].astype(str))]
    print(json.dumps({"ours": ours, "theirs": theirs, "lost": events.lost}))


def until_seen(path: str, said, snoop: subprocess.Popen) -> list[str]:
    """Look for a file that is not there until the tool says so; return all lines it has written."""
    while True:
        with suppress(FileNotFoundError):
            os.close(os.open(path, os.O_RDONLY))
        said.seek(0)
        lines = said.read().splitlines()
        if any(line.endswith(path) for line in lines):
            return lines
        if snoop.poll() is not None:
            sys.exit(f"{snoop.args} ended with status {snoop.returncode}")
        time.sleep(0.05)  # the tool loses events when many come at once


if __name__ == "__main__":
    main(*sys.argv[1:])
