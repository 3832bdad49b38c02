"""A use of the virtual machine that ends otherwise than it should, and is told by its cause; here without one."""

import contextlib
import socket

import pytest

from helpers.lab import LabError, cache, session, template, vm


class Machine:
    """A machine that ends at once."""

    killed = False

    def receive(self):
        return None

    def last_words(self):
        return "its last words"

    def kill(self):
        self.killed = True


@pytest.mark.parametrize(
    ("parents", "why"), [([7, 7], "ended by itself.*\\n.*its last words"), ([7, 1], "started it is gone")]
)
def test_a_command_that_is_ended(monkeypatch, parents, why):
    monkeypatch.setattr(session, "thawed", lambda parent, command: contextlib.nullcontext(Machine()))
    monkeypatch.setattr(session.os, "getppid", iter(parents).__next__)
    with pytest.raises(LabError, match=why):
        session.run(["true"])


def test_a_machine_that_ends_in_the_middle_of_a_message():
    machine = vm.VM.__new__(vm.VM)
    machine.wire, guest = socket.socketpair()
    with machine.wire, guest, machine.wire.makefile("rb") as machine.lines:
        guest.sendall(b'{"stdout": "eA=="}\n{"stdo')
        guest.close()
        assert machine.receive() == {"stdout": "eA=="}
        assert machine.receive() is None


@pytest.fixture
def kvm(monkeypatch, tmp_path):
    """A template of KVM's that does not thaw, with what is thought of in the end as `trusted`."""
    monkeypatch.setattr(template, "find", lambda suite: tmp_path)
    monkeypatch.setattr(template, "check", lambda built: {"accelerator": "kvm"})
    monkeypatch.setattr(template, "build", lambda *_: tmp_path)
    monkeypatch.setattr(template, "distrust_kvm", lambda why: pytest.fail("KVM is to blame"))
    return monkeypatch


def test_a_full_disk_is_not_kvms_fault(kvm):
    def thaw(*_, **request):
        if "news" not in request:
            raise cache.Unusable("The disk is full.", "Make room.")
        return Machine()

    kvm.setattr(template, "thaw", thaw)
    with pytest.raises(LabError, match="The disk is full"):
        session.thawed(1, command=["true"])


def test_no_machine_is_left_where_it_cannot_be_noted_that_kvm_fails(kvm):
    machine = Machine()

    def thaw(*_, **request):
        if "news" not in request:
            raise LabError("It does not start.", "Build it again.")
        return machine

    def distrust(why):
        raise OSError("No space left on device")

    kvm.setattr(template, "thaw", thaw)
    kvm.setattr(template, "distrust_kvm", distrust)
    with pytest.raises(OSError, match="No space"):
        session.thawed(1, command=["true"])
    assert machine.killed
