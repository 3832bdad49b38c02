"""A hub as Zero to JupyterHub's values make it, whose spawner is KubeSpawner; what it tells Kubernetes goes to a file.

JupyterHub reads this module as its configuration (`jupyterhub -f`): the hub, the students' tokens and the description
of their container are the real ones. What is missing is Kubernetes: the rehearsal reads the description and starts the
container. $REHEARSAL is a directory for both.
"""

import json
import os
from pathlib import Path

import yaml
from jupyterhub.proxy import Proxy
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
from traitlets.config import Config

from helpers.lab import cache

VALUES = cache.PROJECT / "binder/zero-to-jupyterhub.yaml"
STUDENT, PORT, HUB_PORT = "ann", 8888, 8081
# What the chart's own values.yaml says where ours say nothing, and which trait of KubeSpawner each becomes.
DEFAULTS = {"allowPrivilegeEscalation": False, "storage.type": "dynamic"}
TRAITS = {
    "allowPrivilegeEscalation": "allow_privilege_escalation",
    "cmd": "cmd",
    "cpu.guarantee": "cpu_guarantee",
    "cpu.limit": "cpu_limit",
    "extraEnv": "environment",
    "fsGid": "fs_gid",
    "memory.guarantee": "mem_guarantee",
    "memory.limit": "mem_limit",
    "uid": "uid",
}
# What is not about the container itself, or is read below.
OTHERS = {
    "image.name",
    "image.tag",
    "cloudMetadata.blockWithIptables",
    "storage.type",
    "storage.capacity",
    "storage.homeMountPath",
    "storage.extraVolumes",
    "storage.extraVolumeMounts",
}


def flat(values: dict, before: str = "") -> dict:
    """Return nested values by their names as in "memory.limit"."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict) and f"{before}{name}" not in TRAITS:
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def kubespawner(values: dict) -> dict:
    """Return KubeSpawner's traits for the chart's values, as the chart's jupyterhub_config.py translates them.

    Raises ValueError for a value that nobody here has translated.
    """
    of_student = DEFAULTS | flat(values["singleuser"])
    if unknown := of_student.keys() - TRAITS.keys() - OTHERS:
        raise ValueError(f"not translated: {', '.join(sorted(unknown))}")
    home = {"name": "volume-{user_server}", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    mount = {"name": home["name"], "mountPath": of_student["storage.homeMountPath"]}
    return {
        **{trait: of_student[name] for name, trait in TRAITS.items() if name in of_student},
        "image": f"{of_student['image.name']}:{of_student['image.tag']}",
        "volumes": [home, *of_student["storage.extraVolumes"]],
        "volume_mounts": [mount, *of_student["storage.extraVolumeMounts"]],
        **values["hub"]["config"]["KubeSpawner"],
    }


class OnPaper(KubeSpawner):
    """Describes a student's container and leaves the description where the rehearsal looks for it."""

    async def start(self):
        pod = ApiClient().sanitize_for_serialization(await self.get_pod_manifest())
        file = Path(os.environ["REHEARSAL"], "pod.json")
        file.with_suffix(".new").write_text(json.dumps(pod))
        file.with_suffix(".new").rename(file)
        return f"http://127.0.0.1:{PORT}"

    async def poll(self):
        return None

    async def stop(self, now=False):
        pass


class NoProxy(Proxy):
    """The rehearsal asks the student's server itself."""

    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {}


def configure(c: Config) -> None:
    c.KubeSpawner.update(kubespawner(yaml.safe_load(VALUES.read_text())))
    c.JupyterHub.spawner_class = OnPaper
    c.JupyterHub.proxy_class = NoProxy
    c.JupyterHub.authenticator_class = "dummy"
    c.Authenticator.allow_all = True
    c.Spawner.http_timeout = 120
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{HUB_PORT}"
    c.JupyterHub.db_url = "sqlite://"
    c.JupyterHub.cookie_secret_file = os.environ["REHEARSAL"] + "/cookie"
    c.JupyterHub.services = [{"name": "rehearsal", "api_token": os.environ["REHEARSAL_TOKEN"]}]
    c.JupyterHub.load_roles = [
        {"name": "rehearsal", "services": ["rehearsal"], "scopes": ["admin:users", "admin:servers", "tokens"]}
    ]


if "get_config" in globals():  # JupyterHub reads this
    configure(get_config())  # noqa: F821
