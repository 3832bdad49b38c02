"""Where tracefs is looked for, in trees that the test makes."""

import os

import pytest

from helpers.collect.tracefs import tracefs

MOUNT_POINTS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@pytest.mark.parametrize("point", MOUNT_POINTS)
def test_either_mount_point(tmp_path, point):
    (tmp_path / point).mkdir(parents=True)
    (tmp_path / point / "trace_pipe").touch()
    assert tracefs(tmp_path) == tmp_path / point


def test_not_mounted(tmp_path):
    (tmp_path / MOUNT_POINTS[0]).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="mount -t tracefs nodev /sys/kernel/tracing"):
        tracefs(tmp_path)


def test_one_who_may_not_look_is_not_told_to_mount_it(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(PermissionError, match="tracing/trace_pipe"):
        tracefs(tmp_path)
