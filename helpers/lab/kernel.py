"""What Jupyter starts for the kernel `ebpf`: python -m helpers.lab.kernel CONNECTION_FILE"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from . import LabError, cache, choose


def main(connection_file: str) -> int:
    """Return the exit status for Jupyter of the kernel that this process is until it is shut down.

    Args:
        connection_file: Where Jupyter has written a key and five ports or sockets; see "Connection files" in
            jupyter_client's documentation.
    """
    # Jupyter may be gone already, and this process have another parent.
    jupyter = int(os.environ.get("JPY_PARENT_PID") or os.getppid())
    try:
        if choose.mode() == "host":
            return host(connection_file)
        from . import session

        return session.kernel(json.loads(Path(connection_file).read_text()), jupyter)
    except LabError as error:
        print(error, file=sys.stderr)
        return explain(connection_file, error) if os.getppid() == jupyter else 1
    finally:
        if os.getppid() != jupyter:
            Path(connection_file).unlink(missing_ok=True)


def host(connection_file: str) -> int:
    """Return 0, the exit status, when the IPython kernel that this process is has been shut down."""
    from ipykernel.kernelapp import IPKernelApp

    os.environ["EBPF_LAB"] = "host"
    sys.path.insert(0, str(cache.PROJECT))
    # No thread that writes what was run to SQLite, which notebook 12 watches; the virtual machine's has none either.
    IPKernelApp.launch_instance(argv=["-f", connection_file, "--HistoryManager.hist_file=:memory:"])
    return 0


def explain(connection_file: str, error: LabError) -> int:
    """Return 1, the exit status, when the kernel that this process is, which only says what is wrong, was shut down."""
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.kernelbase import Kernel
    from zmq import ZMQError

    class Explanation(Kernel):
        implementation = "first-ebpf"
        implementation_version = "1"
        banner = str(error)
        language_info = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py"}

        async def do_execute(self, code: str, silent: bool, *_: Any, **__: Any) -> dict[str, Any]:
            text = f"{error} Then restart this kernel (\N{CLOCKWISE OPEN CIRCLE ARROW})."
            reply = {"ename": "LabError", "evalue": text, "traceback": [text]}
            if not silent:
                self.send_response(self.iopub_socket, "error", reply)  # type: ignore[no-untyped-call]
            return {"status": "error", "execution_count": self.execution_count, **reply}

    try:
        IPKernelApp.launch_instance(argv=["-f", connection_file], kernel_class=Explanation)
    except ZMQError:
        # Its port is taken. Jupyter starts a kernel that has ended again, with other ports; ZeroMQ would never end.
        os._exit(1)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
