"""python -m tests.fresh.visit ADDRESS NOTEBOOK …: somebody opens notebooks in a JupyterLab and runs them top to bottom.

ADDRESS is what `make lab` printed, with its token. Of NOTEBOOK=N only the cells up to the first one that N lines of
"Hello World!" have come from are run. The exit status is 1 when a cell went wrong that was not meant to.
"""

import sys
import time
from urllib.parse import parse_qs, urlsplit

from tests.binder.__main__ import run_notebook
from tests.jupyter import Kernel, Server


def main(address: str, *notebooks: str) -> int:
    parts = urlsplit(address)
    server = Server(f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query)["token"][0])
    wrong = []
    for name in notebooks:
        kernel, heard = Kernel(server, name), []
        print(f"{name}: its kernel was ready after {kernel.ready:.0f} s", flush=True)
        start = time.monotonic()

        def hear(text: str):
            if "Hello World!" in text and not heard:
                heard.append(time.monotonic() - start)
                print(f"{name}: the first Hello World! after {heard[0]:.0f} s", flush=True)

        errors = run_notebook(kernel, name, hear)
        print(f"{name}: {len(errors)} cells went wrong, after {time.monotonic() - start:.0f} s", *errors, sep="\n  ", flush=True)
        wrong += errors
        kernel.close()
        server.ask(f"/api/kernels/{kernel.id}", method="DELETE")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
