"""What is locked is what pyproject.toml names, for the Python that it is for; and what it is made of has a name."""

import os
import subprocess

import pytest
from pip._vendor.packaging.markers import Marker

from helpers.lab import LabError, cache, image, requirements, setup

LISTS = sorted({name for lists in setup.PYTHON_LISTS.values() for name in lists})


@pytest.mark.parametrize("name", LISTS)
def test_each_list_is_locked(name):
    assert requirements.lock(name).read_text().count("--hash=sha256:")


def test_unlocked_dependency_is_named(tmp_path, monkeypatch):
    project = '[project]\ndependencies = ["numpy", "no-such-thing"]\n[dependency-groups]\ntest = []\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.setattr(requirements, "PYPROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(LabError, match="does not lock no-such-thing. Lock it: make lock"):
        requirements.for_guest("3.13")


@pytest.mark.parametrize("python", sorted(set(image.SUITES.values())))
def test_the_guest_gets_one_version_of_each_package(python):
    """Whatever Python and processor this machine has."""
    lines = requirements.for_guest(python).splitlines()
    assert all("==" in line and " --hash=sha256:" in line and ";" not in line for line in lines)
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names)) and {"numpy", "pandas", "pytest", "ptyprocess"} <= set(names)
    assert not {"appnope", "cffi", "colorama", "jupyterlab", "ruff"} & set(names)
    (numpy,) = (line.split()[0] for line in lines if line.startswith("numpy=="))
    assert (numpy.removeprefix("numpy==") < "2.5") == (python == "3.11")


def test_versions_agree_between_the_locks():
    """Several of them go into one environment: there is one version, or one for each Python, the same in all."""
    versions = {}
    for name in LISTS:
        for line in requirements.lock(name).read_text().splitlines():
            if "==" in line:
                package, _, rest = line.removesuffix(" \\").partition("==")
                version, _, marker = rest.partition(" ; ")
                versions.setdefault((package, marker), set()).add(version)
    assert [key for key, found in versions.items() if len(found) > 1] == []
    for python in ("3.11.9", "3.13.9"):
        found = {}
        for (package, marker), (version,) in versions.items():
            if not marker or Marker(marker).evaluate({"python_version": python[:4], "python_full_version": python}):
                found.setdefault(package, set()).add(version)
        assert {package for package, several in found.items() if len(several) > 1} == set()


def made(*arguments, **variables) -> str:
    """Return what the Makefile calls the environment."""
    command = ["make", "--no-print-directory", "--eval", "venv: ; @echo '$(VENV)'", "venv", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout.strip()


def test_an_environment_is_named_after_what_is_asked_for_and_locked(tmp_path):
    (tmp_path / "binder/requirements").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "binder/requirements/lab.txt"):
        (tmp_path / name).write_bytes((cache.PROJECT / name).read_bytes())
    names = [made("-C", str(tmp_path))]
    project, lock = tmp_path / "pyproject.toml", tmp_path / "binder/requirements/lab.txt"
    for file, before, after in (
        (project, "[tool.mypy]\n", "[tool.mypy]\npretty = true\n"),
        (project, 'lock = ["uv"]', 'lock = ["uv", "pip"]'),
        (lock, "\n", "\n# another\n"),
    ):
        file.write_text(file.read_text().replace(before, after, 1))
        names.append(made("-C", str(tmp_path)))
    assert names[0] == names[1] and len(set(names)) == 3


@pytest.mark.parametrize("given", ["here", "/there", "a, place"])
def test_the_cache_does_not_move_with_the_current_directory(given):
    """The hub's, for a class, is another than that of `make`."""
    assert made("-C", str(cache.PROJECT), EBPF_LAB_CACHE=given).startswith(f"{cache.PROJECT / given}/python-")
