"""python -m tests.lab.beside_block_tools TOOL: run a tool of BCC's and a program of notebook 10's at once, in the lab.

The tool runs as it is, in this process, but for two things: where it would sleep until Ctrl-C, the notebook's till
sells, and then comes the Ctrl-C; and it is quick to find functions of the kernel. Prints, as JSON, what each has
counted meanwhile, by slot, and what the tool has printed in the end.
"""

import contextlib
import gc
import io
import json
import os
import runpy
import sys
import time
from pathlib import Path

from bcc import BPF

from helpers import read_map

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "10_count_in_the_kernel.ipynb"
STARTS = "blk_mq_start_request"
SIZES = """
#include <linux/blk-mq.h>
BPF_HISTOGRAM(sizes);
RAW_TRACEPOINT_PROBE(block_rq_issue) {
    struct request *rq = (struct request *)ctx->args[0];
    u32 bytes = 0;
    bpf_probe_read_kernel(&bytes, sizeof(bytes), &rq->__data_len);
    sizes.atomic_increment(bpf_log2l(bytes / 1024));
    return 0;
}
"""


def cells_of(*names: str) -> dict:
    """What the cells of the notebook define that have these words."""
    space = {"show_c": lambda *_, **__: None}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and any(name in source for name in names):
            exec(source, space)
    return space


def counts(table, **where) -> dict[int, int]:
    """What a histogram holds, by slot."""
    df = read_map(table)
    for name, values in where.items():
        df = df[df[name].isin(values)]
    slot = "slot" if "slot" in df else "key"
    return {int(key): int(value) for key, value in df.groupby(slot)["value"].sum().items() if value}


def grown(after, before):
    return {slot: after[slot] - before.get(slot, 0) for slot in after if after[slot] > before.get(slot, 0)}


def main(tool: str) -> None:
    notebook = cells_of("kind_text = ", "requests_text = ", "def sell(")
    if "bitehist" in tool:
        ours, name, where = BPF(text=SIZES), "sizes", {}
    else:
        text = notebook["requests_text"].replace("STEP_NS", "1000000000")
        text = text.replace("bpf_ktime_get_ns() - *begin)", "(bpf_ktime_get_ns() - *begin) / 1000)")
        ours, name, where = BPF(text=text), "took", {"kind": (0, 1, 2)}  # the tool counts no flushes
    functions = Path("/sys/kernel/tracing/available_filter_functions").read_bytes().split()
    known = frozenset(functions)
    BPF.get_kprobe_functions = staticmethod(lambda pattern: [pattern] if pattern in known else [])
    attach, found = BPF.attach_kprobe, {}

    def attach_kprobe(self, event=b"", **more):
        # bitehist's own function is inlined, or sees a request whose bytes have all been done.
        attach(self, event=STARTS if "bitehist" in tool and "account_io_done" in str(event) else event, **more)

    def sleep(_):
        theirs = next(one for one in gc.get_objects() if type(one) is BPF and one is not ours and one.module)
        os.sync()
        before = counts(theirs["dist"]), counts(ours[name], **where)
        notebook["sell"](sales=200)
        found["theirs"] = grown(counts(theirs["dist"]), before[0])
        found["ours"] = grown(counts(ours[name], **where), before[1])
        found["all"] = counts(theirs["dist"])
        raise KeyboardInterrupt

    BPF.attach_kprobe, time.sleep = attach_kprobe, sleep
    sys.argv = [tool]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        runpy.run_path(tool, run_name="__main__")
    found["said"] = said.getvalue()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
