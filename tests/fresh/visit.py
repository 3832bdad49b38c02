"""python -m tests.fresh.visit ADDRESS all | first NOTEBOOK …: somebody opens notebooks and runs their cells in order.

ADDRESS is what `make lab` printed, with its token. With "first" the visit ends at the first "Hello World!". The exit
status is 1 when a cell failed that is not meant to, or did not fail that is.
"""

import sys
import time
from urllib.parse import parse_qs, urlsplit

from tests.jupyter import Server, WebKernel, run_notebook


def visit(address: str, name: str, first: bool) -> list[str]:
    """Open a notebook and run it; return what went wrong. Prints when what was seen."""
    parts = urlsplit(address)
    server = Server(f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query)["token"][0])
    server.wait()
    kernel, heard, start = WebKernel(server, name), [], time.monotonic()
    print(f"{name}: its kernel was ready after {kernel.ready:.0f} s", flush=True)

    def hear(text: str):
        if "Hello World!" in text and not heard:
            heard.append(text)
            print(f"{name}: the first Hello World! after {time.monotonic() - start:.0f} s", flush=True)

    errors = run_notebook(kernel, name, hear, lambda: first and heard)
    took = time.monotonic() - start
    print(f"{name}: {len(errors)} cells went wrong, in {took:.0f} s", *errors, sep="\n  ", flush=True)
    kernel.close()
    server.ask(f"/api/kernels/{kernel.id}", method="DELETE")
    return errors if heard or not first else [*errors, "nobody said Hello World!"]


if __name__ == "__main__":
    address, how_far, *notebooks = sys.argv[1:]
    sys.exit(any([visit(address, name, how_far == "first") for name in notebooks]))
