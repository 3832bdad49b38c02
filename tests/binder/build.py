"""The image, built by Debian's buildah: no container engine, and nothing from a container registry.

What this machine needs to reach Debian and PyPI (pip's settings, the certificates it trusts) is mounted while the image
is built and is no part of it. Images and their layers lie in the lab's cache: what has not changed is not built again.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from helpers.lab import cache

DOCKERFILE = cache.PROJECT / "binder/Dockerfile"
NAME = "localhost/first-ebpf-binder"
USER, UID = "jovyan", 1000  # as Binder gives them
# Docker gives these while it builds, and buildah does not.
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Debian's slim image leaves out the same.
SLIM = [f"path-exclude=/usr/share/{what}/*" for what in ("doc", "man", "info", "locale", "lintian")]


def buildah(*arguments, **options) -> subprocess.CompletedProcess:
    storage = cache.directory() / "first-ebpf-binder"
    command = ["buildah", "--root", storage / "storage", "--runroot", storage / "run", *arguments]
    return subprocess.run(command, check=True, text=True, **options)


def told(*arguments) -> str:
    return buildah(*arguments, stdout=subprocess.PIPE).stdout.strip()


@contextmanager
def container(image: str):
    """Give a container of an image, its name and where its files are mounted; remove it afterwards."""
    name = told("from", "--pull-never", image)
    try:
        yield name, Path(told("mount", name))
    finally:
        buildah("rm", name, stdout=subprocess.DEVNULL)


def base(name: str) -> None:
    """Make the image that the Dockerfile begins with, a minimal Debian, unless it is there."""
    if told("images", "--quiet", "--filter", f"reference={name}"):
        return
    suite = re.search(r":(\w+)", name)[1]
    print(f"  {name}, by mmdebstrap …", flush=True)
    with container("scratch") as (work, root), tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        options = ["--quiet", "--variant=minbase", *(f"--dpkgopt={line}" for line in SLIM)]
        subprocess.run(["mmdebstrap", *options, suite, archive.name], check=True)
        subprocess.run(["tar", "--extract", "--file", archive.name, "--directory", root], check=True)
        buildah("config", "--cmd", "bash", work)
        buildah("commit", "--quiet", work, name, stdout=subprocess.DEVNULL)


def pip_settings(certificates: Path | str) -> str:
    """Return a pip.conf by which pip reaches what pip on this machine reaches, trusting a file of certificates."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    found = dict(re.findall(r"^(?:global|install)\.([\w-]+)='(.*)'$", said.stdout, re.MULTILINE))
    lines = [f"{key} = {found[key]}" for key in ("index-url", "trusted-host", "proxy") if key in found]
    return "\n".join(["[global]", f"cert = {certificates}", *lines, ""])


def network_settings(folder: Path) -> list[str]:
    """Return buildah's options that let pip in the build reach what pip on this machine reaches."""
    settings = folder / "pip.conf"
    settings.write_text(pip_settings("/run/certificates"))
    return [f"--volume={settings}:/etc/pip.conf:ro", f"--volume={CERTIFICATES}:/run/certificates:ro"]


def build() -> None:
    """Build the image from what git would commit, as Binder does from a clone."""
    # A build that was killed leaves containers behind, and they keep its layers.
    buildah("rm", "--all", stdout=subprocess.DEVNULL)
    base(re.search(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)[1])
    with tempfile.TemporaryDirectory() as work:
        context = Path(work, "context")
        listed = ["git", "-C", cache.PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]:
            if (cache.PROJECT / name).exists():
                (context / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(cache.PROJECT / name, context / name)
        buildah(
            *["bud", "--layers", "--pull-never", "--isolation=chroot", "--format=docker"],
            *[f"--cap-add={name}" for name in CAPABILITIES],
            *[f"--build-arg=NB_USER={USER}", f"--build-arg=NB_UID={UID}"],
            *network_settings(Path(work)),
            # Binder builds on machines without it, and this isolation would show this machine's.
            "--volume=/dev/null:/dev/kvm",
            *[f"--tag={NAME}", f"--file={context / 'binder/Dockerfile'}", context],
        )
    # The layers of this image stay, those of the one before it go.
    buildah("rmi", "--prune", stdout=subprocess.DEVNULL)


def configuration() -> dict:
    """Return what the image says about how it is run: Env, Entrypoint, Cmd, WorkingDir, User."""
    return json.loads(told("inspect", "--type=image", NAME))["OCIv1"]["config"]


def size() -> float:
    """Return the size of all layers, unpacked, in GB."""
    images = json.loads(told("images", "--json", "--filter", f"reference={NAME}"))
    number, unit = re.match(r"([\d.]+) *(\w+)", images[0]["size"]).groups()
    return float(number) * {"KB": 1e-6, "MB": 1e-3, "GB": 1}[unit]
