"""Folded stacks: every row's number is in one of them, under the names of its functions or of what is missing."""

import errno
import random
import time

import pandas as pd
import pytest

from helpers import fold_stacks
from helpers.collect import stacks

KERNEL, PID = {0xF0: "entry", 0xF1: "do_sync", 0xF2: "wait"}, 42
SYMBOLS = {-1: {address: (name, "kernel") for address, name in KERNEL.items()}} | {
    PID: {0x10: ("main", "till"), 0x11: ("operator;;", "till"), 0x12: (None, "libc.so.6")}
}
STACKS = {1: [0xF2, 0xF1, 0xF0], 2: [0xF1, 0xF0], 7: [0x12, 0x11, 0x10], 8: [0x99, 0x10], 9: [0xF1] * 127}
EFAULT, EEXIST = -errno.EFAULT, -errno.EEXIST


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """A table of these stacks, with these symbols; the processes with symbols are alive."""
    looked_up = []

    def symbol(address, pid):
        looked_up.append((address, pid))
        return SYMBOLS.get(pid, {}).get(address, (None, None))

    monkeypatch.setattr(stacks, "check_stack_table", lambda table: None)
    monkeypatch.setattr(stacks, "stack_addresses", lambda table, stack_id: STACKS[stack_id])
    monkeypatch.setattr(stacks, "symbol", symbol)
    monkeypatch.setattr(stacks, "is_running", lambda pid: pid in SYMBOLS)
    return looked_up


def rows(*places, **more):
    return pd.DataFrame(places, columns=["kernel_stack", "user_stack", "off_ns"]).assign(pid=PID, **more)


def fold(df, **more):
    folded = fold_stacks(df, "the table", "off_ns", **more)
    return dict(zip(folded["stack"], folded["off_ns"]))


def test_the_outermost_function_comes_first_and_the_user_s_before_the_kernel_s():
    assert fold(rows((1, 7, 5))) == {"main;operator::;[unknown in libc.so.6];entry_[k];do_sync_[k];wait_[k]": 5}


def test_equal_stacks_are_added_up_largest_first():
    df = rows((1, 8, 5), (2, 8, 20), (1, 8, 6))
    folded = fold_stacks(df, "the table", "off_ns")
    assert list(folded["off_ns"]) == [20, 11] and folded["off_ns"].dtype == df["off_ns"].dtype
    assert folded["stack"].dtype == "str"


def test_the_kernel_s_or_the_user_s_alone():
    assert fold(rows((1, 7, 5), (1, 8, 6)), user=None) == {"entry_[k];do_sync_[k];wait_[k]": 11}
    assert fold(rows((1, 8, 5), (2, 8, 6)), kernel=None) == {"main;[unknown]": 11}


def test_a_root_tells_whose_they_are():
    assert fold(rows((2, 8, 5), comm="till"), root="comm") == {"till;main;[unknown];entry_[k];do_sync_[k]": 5}


def test_a_process_that_has_ended():
    df = rows((2, 7, 5)).assign(pid=43)
    assert fold(df) == {"[process has ended];[process has ended];[process has ended];entry_[k];do_sync_[k]": 5}


def test_the_same_address_has_another_name_in_another_process():
    df = pd.concat([rows((2, 8, 5)), rows((2, 8, 6)).assign(pid=43)])
    assert set(fold(df, kernel=None)) == {"main;[unknown]", "[process has ended];[process has ended]"}


@pytest.mark.parametrize(
    "kernel, user, stack, missing",
    [
        (EFAULT, 8, "main;[unknown]", {"kernel EFAULT": 5}),  # it ran outside the kernel
        (EEXIST, 8, "main;[unknown];[kernel stack: EEXIST]", {"kernel EEXIST": 5}),
        (2, EFAULT, "[user stack: EFAULT];entry_[k];do_sync_[k]", {"user EFAULT": 5}),
        (2, EEXIST, "[user stack: EEXIST];entry_[k];do_sync_[k]", {"user EEXIST": 5}),
        (EFAULT, EEXIST, "[user stack: EEXIST];[kernel stack: EFAULT]", {"user EEXIST": 5, "kernel EFAULT": 5}),
        (-errno.ENOMEM, 8, "main;[unknown];[kernel stack: ENOMEM]", {"kernel ENOMEM": 5}),
        (3, 8, "main;[unknown];[kernel stack: deleted]", {}),
    ],
)
def test_a_missing_stack_is_named_and_counted(kernel, user, stack, missing):
    df = rows((kernel, user, 5), (1, 7, 100))
    folded = fold_stacks(df, "the table", "off_ns")
    assert fold(df)[stack] == 5 and folded["off_ns"].sum() == 105 and folded.attrs["missing"] == missing


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_an_error_in_an_unsigned_field_is_one(dtype):
    df = rows((EEXIST, EFAULT, 5), (1, 7, 100)).astype({"kernel_stack": dtype, "user_stack": dtype})
    assert fold_stacks(df, "the table", "off_ns").attrs["missing"] == {"kernel EEXIST": 5, "user EFAULT": 5}


def test_a_stack_that_goes_deeper():
    [stack] = fold(rows((9, 8, 5)), user=None)
    assert stack.split(";") == ["[deeper]"] + ["do_sync_[k]"] * 127


def test_nothing_is_dropped():
    choose = random.Random(1)
    ids = [*STACKS, 3, EFAULT, EEXIST, -errno.ENOMEM, -999]
    df = rows(*((choose.choice(ids), choose.choice(ids), choose.randrange(1000)) for _ in range(2000)))
    assert sum(fold(df).values()) == df["off_ns"].sum()


def test_what_the_frame_knew_stays_with_it():
    df = rows((2, 8, 5))
    df.attrs = {"lost": 3}
    assert fold_stacks(df, "the table", "off_ns").attrs == {"lost": 3, "missing": {}}
    assert df.attrs == {"lost": 3}


def test_no_rows():
    folded = fold_stacks(rows().astype("int64"), "the table", "off_ns")
    assert list(folded.columns) == ["stack", "off_ns"] and not len(folded)
    assert folded.dtypes.astype(str).to_dict() == {"stack": "str", "off_ns": "int64"}


def test_three_hundred_thousand_rows_look_each_address_up_once(table):
    df = pd.concat([rows((1, 7, 5), (2, 8, 6), (EFAULT, 8, 7))] * 100_000)
    begin = time.process_time()
    assert sum(fold(df).values()) == 18 * 100_000
    assert time.process_time() - begin < 2  # about 0.1 s here
    assert len(table) == len(set(table))


def test_a_column_that_is_not_there():
    with pytest.raises(KeyError, match="no column 'kernel_stack' here, only .'x'."):
        fold_stacks(pd.DataFrame({"x": [1]}), "the table", "x")
    with pytest.raises(ValueError, match="give kernel= or user="):
        fold_stacks(rows(), "the table", "off_ns", kernel=None, user=None)
