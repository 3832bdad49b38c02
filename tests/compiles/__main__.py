"""python -m tests.compiles [--vm] [SUITE …]: our programs and BCC's own tools, with precompiled headers and without.

Each has to come out the same: its code to the bit, what is said to the letter (but for long programs that do not
compile: the numbers that clang gives to the lines of its scratch space). On this machine's processor, in the image of
each Debian release (the default one, or those named), as root; with --vm in its virtual machine, which takes an hour.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.lab import cache, image, template
from tests.compiles.programs import BROKEN, GOOD

IN_VM = ["env", "EBPF_LAB=vm", sys.executable, "-m", "helpers.lab"]


def main(words: list[str]) -> int:
    suites = [word for word in words if word != "--vm"] or [image.DEFAULT_SUITE]
    return max(differences(suite, "--vm" in words) for suite in suites)


def differences(suite: str, vm: bool) -> int:
    """Compile everything twice on a Debian release; print what differs, a summary, and return whether anything does."""
    place = image.ensure(suite)
    native = ["unshare", "--mount", "sh", "tests/in_image.sh", str(place)]
    if vm:
        template.ensure(suite)
    enter = [*IN_VM, "--suite", suite, "run", "--"] if vm else native
    with tempfile.TemporaryDirectory(dir=cache.PROJECT, prefix=".compiles-") as folder:
        tools, file = Path(folder, "tools"), Path(folder, "programs.json")
        fetch_tools(suite, tools)
        collected = subprocess.run(
            [*native, "python", "-m", "tests.compiles.collect", str(tools)], stdout=subprocess.PIPE, check=True
        )
        programs = [*GOOD, *BROKEN, *json.loads(collected.stdout)]
        file.write_text(json.dumps(programs))
        rows = []
        compare = [*enter, "python", "-m", "tests.compiles.compare", str(file)]
        with subprocess.Popen(compare, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                rows.append(row := json.loads(line))
                if row["differ"]:
                    print(f"{row['name']}, with {row['precompiled']}", *row["differ"], sep="\n  ", flush=True)
    differ = sum(bool(row["differ"]) for row in rows)
    good = [row for row in rows if row["compiles"]]
    used = [row for row in good if row["precompiled"]]
    print(
        f"{suite}: of {len(programs)} programs {len(good)} compile, {len(used)} of them from a precompiled "
        f"header; {len(rows) - len(good)} do not; {differ} differ, "
        f"and {sum(row['numbers'] for row in rows) - differ} in the numbers of clang's scratch space only",
        flush=True,
    )
    return differ > 0 or len(rows) < len(programs)


def fetch_tools(suite: str, folder: Path):
    """Put the programs of Debian's package bpfcc-tools into a folder, and its example bitehist.py."""
    folder.mkdir()
    example = "usr/share/doc/bpfcc-tools/examples/tracing/bitehist.py"
    take = f'cp -L "$1"/usr/sbin/*-bpfcc "$1"/{example} {shlex.quote(str(folder))}'
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--include=bpfcc-tools",
        f"--extract-hook={take}",
        '--aptopt=APT::Install-Recommends "false"',
        "--format=null",
        suite,
        "-",
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
