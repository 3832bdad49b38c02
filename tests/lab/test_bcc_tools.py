"""What notebook 10 counts, beside BCC's own bitehist and biolatency (Debian's bpfcc-tools): one workload and kernel.

Not beside its vfsreadlat: that times `vfs_read`, and no notebook does.
"""

import json
import re


def both(person, tool):
    """What the tool and the notebook's program counted of one workload, by slot, and what the tool printed."""
    done = person.lab("run", "--", "python", "-m", "tests.lab.beside_block_tools", str(tool), timeout=400)
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


def test_bitehist_counts_requests_of_the_same_sizes(person, bcc_tools):
    theirs, ours, everything, said = both(person, bcc_tools / "bitehist.py")
    assert ours == theirs and sum(ours.values()) > 200 * 9
    assert printed(said) == everything  # read_map reads what BCC prints


def test_biolatency_counts_as_many_requests_and_as_slow_ones(person, bcc_tools):
    theirs, ours, everything, said = both(person, bcc_tools / "biolatency-bpfcc")
    assert sum(ours.values()) == sum(theirs.values()) > 200 * 5  # five of a commit's nine requests are no flushes
    assert abs(median(ours) - median(theirs)) <= 1
    assert printed(said) == everything
