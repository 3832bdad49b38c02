"""What notebook 10 counts, beside BCC's own bitehist and biolatency (Debian's bpfcc-tools): one workload and kernel.

Not beside its vfsreadlat: that times `vfs_read`, and no notebook does.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from helpers.lab import cache, image

TOOLS = {
    "bitehist.py": "usr/share/doc/bpfcc-tools/examples/tracing/bitehist.py",
    "biolatency": "usr/sbin/biolatency-bpfcc",
}
VM = {**os.environ, "EBPF_LAB": "vm", "PYTHONPATH": str(cache.PROJECT)}


@pytest.fixture(scope="module")
def tools():
    """A folder that the virtual machine can see, with these programs from the release that the machine is made of."""
    with tempfile.TemporaryDirectory(dir=cache.PROJECT, prefix=".tests-") as folder:
        Path(folder).chmod(0o755)
        take = f'tar -C "$1" -c {" ".join(TOOLS.values())} > {shlex.quote(folder)}/tools.tar'
        options = ["--quiet", "--variant=extract", "--include=bpfcc-tools", "--format=null"]
        no_more = '--aptopt=APT::Install-Recommends "false"'
        subprocess.run(
            ["mmdebstrap", *options, f"--extract-hook={take}", no_more, image.DEFAULT_SUITE, "-"], check=True
        )
        subprocess.run(["tar", "-C", folder, "-xf", f"{folder}/tools.tar"], check=True)
        yield Path(folder)


def both(tools, name):
    """What the tool and the notebook's program counted of one workload, by slot, and what the tool printed."""
    command = [sys.executable, "-m", "helpers.lab", "run", "--", "python", "-m", "tests.lab.beside_block_tools"]
    done = subprocess.run([*command, tools / TOOLS[name]], cwd=cache.PROJECT, env=VM, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return *({int(slot): count for slot, count in found[who].items()} for who in ("theirs", "ours", "all")), found[
        "said"
    ]


def printed(text):
    """A printed histogram, by slot: "4 -> 7 : 12" is slot 3."""
    rows = re.findall(r"(\d+) -> (\d+) +: (\d+)", text.partition("linear")[0])
    return {int(end).bit_length(): int(count) for _, end, count in rows if int(count)}


def median(counts):
    half, total = sum(counts.values()) / 2, 0
    for slot in sorted(counts):
        total += counts[slot]
        if total >= half:
            return slot


def test_bitehist_counts_requests_of_the_same_sizes(tools):
    theirs, ours, everything, said = both(tools, "bitehist.py")
    assert ours == theirs and sum(ours.values()) > 200 * 9
    assert printed(said) == everything  # read_map reads what BCC prints


def test_biolatency_counts_as_many_requests_and_as_slow_ones(tools):
    theirs, ours, everything, said = both(tools, "biolatency")
    assert sum(ours.values()) == sum(theirs.values()) > 200 * 5  # five of a commit's nine requests are no flushes
    assert abs(median(ours) - median(theirs)) <= 1
    assert printed(said) == everything
