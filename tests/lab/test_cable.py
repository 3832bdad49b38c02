"""■ and ↻ in the middle of a cell with a cable, by Jupyter: nothing of it is left in the machine."""

import pytest

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def test_stop_in_the_middle_of_sending(person, happened):
    seen = person.python(
        """
        import json
        from tests.lab.kernels import LocalKernel, jupyter
        look = '''
        import os, subprocess
        from tests.live.test_cable import outside, pinned
        from tests.live.test_stress import in_the_kernel
        print(outside()[1:], pinned(), sorted(in_the_kernel()))
        '''
        cell = '''
        from bcc import BPF
        from helpers import cable, detach_all, read_map, transmit, udp_frame
        from tests.live.test_cable import PROGRAM, equip, when_it_sends
        bpf = BPF(text=PROGRAM)
        sender = bpf.load_func("sender", BPF.XDP)
        with cable() as (ann, bob):
            equip(bpf, bob)
            with ann:
                when_it_sends(bpf, lambda: print("sending", flush=True))
                transmit(sender, udp_frame(ann, bob), 1 << 31, "ann")
        '''
        with jupyter(), LocalKernel() as kernel:
            before = kernel.execute(look)
            stop = lambda text: "sending" in text and kernel.manager.interrupt_kernel()
            printed, error = kernel.run(cell, hear=stop)
            sent = kernel.execute("print(int(read_map(bpf['sent'])['value'].sum()), detach_all())")
            print(json.dumps({"error": error, "sent": sent.split(), "same": kernel.execute(look) == before}))
        """
    )
    assert seen["error"].startswith("KeyboardInterrupt") and seen["same"]
    assert 0 < int(seen["sent"][0]) < 1 << 31 and seen["sent"][1] == "1"
    happened("■ while packets are sent", f"{int(seen['sent'][0]):,} sent; no interface, program, map or pin is left")
