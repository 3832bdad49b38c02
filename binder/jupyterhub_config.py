"""JupyterHub for a class on one computer: `sudo make classroom`. The README says what the teacher does."""

import os
import shlex
import subprocess
import sys

from helpers.lab import cache

c = get_config()  # noqa: F821

for path in (cache.PROJECT, cache.directory(), sys.executable):
    if subprocess.run(["test", "-r", path], user="nobody", group="nogroup", extra_groups=[]).returncode:
        sys.exit(
            f"Students cannot read {path}. Open it to them: sudo chmod -R go+rX {shlex.quote(str(path))}. Or put the "
            "course where they can read it, in /srv say, and leave EBPF_LAB_CACHE unset."
        )

# Where Debian keeps the proxy's modules, also for a Node.js that is not Debian's.
os.environ.setdefault("NODE_PATH", "/usr/share/nodejs")

# Passwords come in here: from this computer only, until there is a certificate as well (--ssl-cert, --ssl-key, --ip).
c.JupyterHub.ip = "127.0.0.1"

# The computer's own accounts: who is in the group students may log in, and who may use sudo looks after them.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"students"}
c.PAMAuthenticator.admin_groups = {"sudo"}

c.JupyterHub.spawner_class = "localprocess"
# -P: it starts in the student's home, whose files are none of its modules.
c.Spawner.cmd = [sys.executable, "-P", "-m", "helpers.lab.student"]
c.Spawner.environment = {"PYTHONPATH": str(cache.PROJECT), "EBPF_LAB_CACHE": str(cache.directory())}
c.Spawner.disable_user_config = True
c.Spawner.http_timeout = c.Spawner.start_timeout = 120
c.Spawner.args = [
    # Never fall back on ports: all students could connect to them.
    "--KernelManager.transport=ipc",
    # What students run, they run in their virtual machine.
    "--ServerApp.terminals_enabled=False",
    # A machine that nobody has looked at for half an hour, and a server for two, give their memory back.
    "--MappingKernelManager.cull_idle_timeout=1800",
    "--ServerApp.shutdown_no_activity_timeout=7200",
]
