"""What Jupyter starts for the kernel `ebpf`: python -m helpers.lab.kernel CONNECTION_FILE"""

import json
import os
import sys
from pathlib import Path

from . import LabError, cache, choose


def main(connection_file: str) -> int:
    # Jupyter may be gone already, and this process have another parent.
    jupyter = int(os.environ.get("JPY_PARENT_PID") or os.getppid())
    try:
        if choose.place() == "host":
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
    """Be an ordinary IPython kernel on this machine, with the helpers at hand."""
    from ipykernel.kernelapp import IPKernelApp

    os.environ["EBPF_LAB"] = "host"
    sys.path.insert(0, str(cache.PROJECT))
    IPKernelApp.launch_instance(argv=["-f", connection_file])
    return 0


def explain(connection_file: str, error: LabError) -> int:
    """Be a kernel that answers every cell with what is wrong: the notebook is where the learner looks."""
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.kernelbase import Kernel
    from zmq import ZMQError

    class Explanation(Kernel):
        implementation = "first-ebpf"
        implementation_version = "1"
        banner = str(error)
        language_info = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py"}

        def do_execute(self, code, silent, store_history=True, user_expressions=None, allow_stdin=False, **_):
            text = f"{error} Then restart this kernel (\N{CLOCKWISE OPEN CIRCLE ARROW})."
            reply = {"ename": "LabError", "evalue": text, "traceback": [text]}
            if not silent:
                self.send_response(self.iopub_socket, "error", reply)
            return {"status": "error", "execution_count": self.execution_count, **reply}

    try:
        IPKernelApp.launch_instance(argv=["-f", connection_file], kernel_class=Explanation)
    except ZMQError:
        # Its port is taken. Jupyter starts a kernel that has ended again, with other ports; ZeroMQ would never let us end.
        os._exit(1)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
