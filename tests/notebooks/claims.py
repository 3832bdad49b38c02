"""What each notebook says that its numbers show, computed again after every run, in the notebook's own kernel.

CLAIMS has a few lines of Python for the id of a code cell. They run behind that cell, with its variables.
"""

import nbformat

from tests.notebooks import translation


def refused(text: str, kind: str) -> str:
    """Lines of Python: the kernel refuses a text, and `explain` says why."""
    return (
        f"try:\n    load({text})\nexcept Exception as error:\n    assert explain(error).kind == {kind!r}\n"
        "else:\n    raise AssertionError('it was let in')"
    )


CLAIMS = {
    # 00: a row for each call, by who made it, and none lost.
    "00-20": "assert len(df) == lines.received == 15 and lines.lost == df.attrs['lost'] == 0",
    "00-24": "assert df['task'].value_counts()['alice'] == 10",
    "00-27": "assert len(df) == 0 and 'message' in df",
    "00-07": "assert not report().missing",
    # 01: the \n of the article makes an empty second line, and the pipe gives each line once.
    "01-23": "assert '[FTRACE]' in probes()",
    "01-31": r"assert text.endswith('Hello World!\n\n') and len(text.splitlines()) == 2",
    "01-33": "assert waiting() == ''",
    "01-35": "assert len(probes().splitlines()) == 1 and 'sys_sync' in probes()",
    # Five flags: three letters or dots, two counts.
    "01-40": "import re; assert len(fields) == 6 and fields[5] == b'Hello World!' "
    "and re.fullmatch(rb'[.a-zA-Z]{3}[.0-9a-f]{2}', fields[3])",
    # Field 4 is time since the boot, by a clock that is a little off the other one, and not Unix time.
    "01-44": "assert abs(time.monotonic() - fields[4]) < 60 < time.time() - fields[4]",
    # Field 1 is the thread, and the upper half is the process.
    "01-53": "assert int(number) == tid != os.getpid() "
    "and message.decode() == f'upper half {os.getpid()}, lower half {tid}'",
    # A kprobe reports its own address plus 1.
    "01-57": "run_sync(times=1); at = int(waiting().partition('kprobe at ')[2].split()[0], 16); "
    "assert at == int(probes().split()[0], 16) + 1",
    # Two objects, two probes; cleaning up the newest leaves the older one.
    "01-70": "assert len(probes().splitlines()) == 2",
    "01-72": "run_sync(times=1); said = waiting(); assert 'first run' in said and 'second run' not in said",
    "01-74": "run_sync(times=1); assert waiting() == '' and probes() == 'no probes\\n'",
    # 02: N calls, N rows, each by its caller; the message repeats who and which process.
    "02-07": "assert dict(df['task'].value_counts()) == {'steady': 30, 'hasty': 40, 'lazy': 6}",
    "02-16": "assert (df['pid'] == df['tid']).all() and df['pid'].nunique() == 3 and set(df['uid']) == {0}",
    "02-19": "assert abs(steady['time_ns'].diff().median() / 1e6 - 100) < 5",
    "02-21": "assert before < when < after",
    "02-23": "assert '[mono]' not in clock.read_text() and ' boot ' in clock.read_text()",
    "02-32b": "assert abs(gap_ms[df['task'] == 'steady'].median() - 100) < 5 and gap_ms.isna().sum() == 3",
    # Two programs mix in trace_pipe, and the kernel does not say which one wrote a line.
    "02-35": "assert len(mixed) == 20 and mixed['message'].str.contains('pid=').astype(int).diff().abs().sum() >= 2",
    "02-38": "assert list(mixed['function'].unique()) == ['bpf_trace_printk']",
    "02-40": "assert len(mine) == 8",
    "02-44": "assert died.returncode == 1 and 'never printed' not in died.stdout",
    "02-47": "assert _[0].endswith(' again') and len(_) == 2 and int(_[1].split()[-1]) < 0",
    # 03: the callback gets what perf_submit sent, padded; two programs, two tables, nothing mixes.
    "03-24": "assert raw[0].startswith(b'Hello World!')",
    "03-28": "assert ctypes.sizeof(twins[0]) == 12",
    "03-38": "assert list(Out.values())[-1] == 20",
    "03-40": "assert sorted(order) == [0] * 3 + [os.cpu_count() - 1] * 2",
    "03-44": "assert len(messages) == 4",
    "03-48": "assert heard == {name: [f'I am {name}....'] * 5 for name in ('ann', 'bob')}",
    "03-54": "assert {162, 0} & set(numbers) and len(numbers) == 2",
    # 04: N calls, N rows; per CPU in order, together not; a thread is not a process.
    "04-11": "assert dict(df['comm'].value_counts()) == {'ann': 4, 'bob': 4} and df['pid'].nunique() == 2",
    "04-14": "assert busy.groupby('cpu')['time_ns'].is_monotonic_increasing.all() and len(busy) == 100",
    "04-16": "assert busy['time_ns'].is_monotonic_increasing",
    "04-22": "assert _.base is raw and (_['pid'] == three['pid']).all()",
    "04-30": "two = events.to_dataframe(); "
    "assert set(two['pid']) == {os.getpid()} and set(two['tid']) == {os.getpid(), second.native_id}",
    "04-32": "assert set(events.to_dataframe()['uid']) == {0, 65534}",
    "04-38": "assert dict(df['comm'].value_counts()) == {'fast': 30, 'burst': 12, 'slow': 8}",
    "04-47": "assert made.calls == len(alone) == 100 and len(bpf['started']) == 0",
    # Only who writes to disk makes the bystander wait; a busy CPU and writes to memory do not.
    "04-58": "half = table['50%']; assert (table['count'] == 100).all() "
    "and half['writes to disk'] > 2 * half.drop('writes to disk').max()",
    # A return probe follows ten calls here, and the beginnings of the others stay in the map.
    "04-61b": "most = min(20, max(10, 2 * os.cpu_count())); "
    "assert _ == {'calls': 20, 'rows': most, 'left in the map': 20 - most}",
    "04-61d": "assert _ == {'calls': 20, 'rows': 20, 'left in the map': 0}",
    # 05: fired = received + lost, to the last event, however many are lost.
    "05-12": "assert len(rows) == 8 * 4096 // 40 and not losses",
    "05-14": "assert losses and fired() - before == len(rows) + sum(losses) == 5001",
    "05-20": "assert events.lost > 0 and fired() - before == events.received + events.lost == 20_000",
    "05-22": "assert events.to_dataframe().attrs['lost'] == events.lost",
    "05-25": "assert (sweep['received'] + sweep['lost'] == 20_000).all() "
    "and sweep['lost'].iloc[0] > sweep['lost'].iloc[-1] == 0",  # 256 pages hold all 20,000
    "05-35": "assert (waking['received'] == 200).all() and waking['woken'].iloc[0] > waking['woken'].iloc[-1]",
    # A wake-up every 1,000 events or when half of the buffer is full, which 64 pages are not with 500 events.
    "05-37": "assert polled == {64: 0, 8: 500} and len(rows) == 500",
    "05-50c": "assert fired() == events.received == 20 and events.lost == 0",
    # Only a callback can miss a loss that no event follows.
    "05-47": "assert table.index[-1] == 'batches' and (table.loc[['batches', 'trace_pipe'], 'missing'] == 0).all()",
    # 06: the ring buffer gives events in the order they fired, the perf buffer one CPU after the other.
    "06-11": "assert by_ring == ['ann', 'bob'] * 4 and sorted(by_perf) == sorted(by_ring) and by_perf != by_ring",
    "06-13": "assert len(perf_df) == len(ring_df) == 400",
    "06-16": "assert (perf_df['time_ns'].astype('int64').diff() < 0).sum() >= 1",
    "06-20": "assert len(late(perf_df)) > 0 and len(late(ring_df)) < len(late(perf_df)) / 4",
    "06-22": "assert len(late(perf_df.sort_values('time_ns'))) == 0",
    "06-26": "assert (len(by_perf), len(by_ring)) == (8 * 4096 // 40, 16 * 4096 // 32 - 1)",
    "06-32": "assert events.lost > 0 and made.calls == events.received + events.lost == 20_000",
    "06-37": "assert dict(events.to_dataframe()['comm'].value_counts()) == {'ann': 10}",
    # 07: with SQLite's defaults, four calls for a sale and its table, three files; fewer commits make fewer calls.
    "07-12": "import sqlite3; db = sqlite3.connect('/var/tmp/shop.db'); "
    "assert [db.execute('PRAGMA ' + word).fetchone()[0] for word in ('journal_mode', 'synchronous')] == ['delete', 2]; "
    "db.close(); assert by_pid[till.pid] == 11 * 4 and till.pid not in [pid.value for pid in bpf['fsyncs']]",
    "07-19": "assert set(names) >= {'/var/tmp/shop.db', '/var/tmp/shop.db-journal'}",
    "07-28": "assert len(df) == 201 * 4 and events.lost == 0",
    # The new journal's first flush is the slow one of a commit; the second writes in place, as the database's does.
    "07-31": "assert [file.rpartition('/')[2] for _, file in by_file.index] == "
    "['shop.db-journal', 'tmp', 'shop.db-journal', 'shop.db'] and (by_file['calls'] == 201).all() "
    "and by_file['median_ms'].iloc[0] > by_file['median_ms'].iloc[1:].max()",
    "07-38": "assert (fix['in_calls_s'] < fix['all_s']).all() "
    "and fix['calls'].is_monotonic_decreasing and fix['all_s'].is_monotonic_decreasing",
    "07-60": "assert len(data) == made.calls == 100 and data.attrs['lost'] == 0 and set(data['comm']) == {'template'}",
    # 08: the function behind a system call gets the address of the caller's registers, and in those are the arguments.
    "08-10": "assert len(_) >= 3 and set(_['got']) == {-14} and set(_['path']) == {''}",
    "08-14": "assert len(_) >= 3 and _.str.startswith('0xff').all()",
    "08-16": "right = _.drop(columns='pid').astype({'path': str}); "
    "assert set(right['folder']) == {-100} and right['path'].iloc[-1] == '/etc/hostname'",
    "08-18": "assert right.equals(_.drop(columns='pid').astype({'path': str})); "
    "fourth = by_hand.replace('PT_REGS_PARM1(&theirs)', 'PT_REGS_PARM4_SYSCALL(&theirs)'); "
    "assert 0o666 in set(watch(load(fourth), 'touch', '/var/tmp/fourth')['folder'])",
    "08-22": "assert right.equals(_.drop(columns='pid').astype({'path': str}))",
    "08-24": "assert set(_['got']) == {-34} and set(_['path']) == {''} and errno.errorcode[34] == 'ERANGE'",
    # What nobody has touched is not in memory, until the kernel has fetched it; a full field is full.
    "08-27": "assert min(opened) >= 0 and twice['got'].tolist() == [-14, 14]",
    "08-31": "assert list(zip(_['got'], _['length'])) == [(63, 62), (64, 63), (64, 63), (64, 63)]",
    # The command and its loader are opened by the kernel; each arrow is a call of bpf_probe_read.
    "08-35": "assert len(files) == len(right) + 2 and files['name'].tolist()[::4] == ['cat', 'hostname'] "
    "and 'cat' not in list(files['comm'][:2]); from helpers.collect.bcc_internals import instructions; "
    "assert sum(one == (0x85, 4) for one in instructions(bpf)) == 6",
    "08-37": "status = os.stat('/etc/hostname'); "
    "assert [status.st_ino, status.st_size] == files[['inode', 'size_bytes']].iloc[-1].tolist()",
    "08-41": "assert 'blk_mq_start_request' in _",
    "08-43": """assert took["ours"] < took["BCC's"] / 2""",
    # What is said to be possible is, and the rest is not. On Debian 13, an inline function has a symbol and no probe.
    "08-45": """suspect = _
assert suspect["symbol"]["vfs_open"] and not suspect["symbol"]["blk_start_request"]
for name, possible in suspect["can be probed"].items():
    try:
        taken = load(hits, name, "on_call")
    except Exception:
        taken = None
    assert (taken is not None) == possible
if "deb13" in os.uname().release:
    assert suspect.loc["blk_account_io_done"].tolist() == [True, False, ""]""",
    "08-47": "assert heard == {'do_sys_open': False, 'do_sys_openat2': True}",
    "08-55": "assert df['pid'].nunique() == 1 and df.attrs['lost'] == 0 and '/etc/hostname' not in set(df['path'])",
    "08-59": "assert set(vain['ret']) == {-2}",
    "08-61": "assert (df['got'] >= 0).all() and (df['got'] < 128).all()",
    # As many for each package as there are suffixes of libraries; and nothing is learned from the first time.
    "08-63": """asked = ["/usr/bin/python3", "-c", "import importlib.machinery as m; print(m.EXTENSION_SUFFIXES)"]
suffixes = eval(subprocess.check_output(asked))
assert [number for number, is_package in zip(where, package) if is_package] == [len(suffixes)] * 4""",
    "08-64": "assert sorted(_) == sorted('__init__' + suffix for suffix in suffixes)",
    "08-66": "assert len(vain) == (again['ret'] < 0).sum()",
    # 09: what was refused, and for what; the steps and the lines that the text speaks of.
    "09-09": "told = explain(); assert (told.kind, told.lines) == ('null', [6, 7]) "
    "and \"R0 invalid mem access 'map_value_or_null'\" in told.log and '; u64 *count = bpf_map_lookup_e' in told.log",
    "09-13": refused("looked_up", "null"),
    "09-16": "assert [bpf['calls'][bpf['calls'].Key(pid)].value for pid in calls.pids] == [5, 5]",
    "09-18": refused("names", "kernel memory"),
    "09-22": refused("opening, 'syscall__openat'", "user memory"),
    "09-26": refused("waiting", "loop"),
    "09-30": "assert walk[10_000] > 50 * walk[100] and walk.is_monotonic_increasing",
    "09-33": refused("letters", "index"),
    "09-35": refused("letters.replace('if (!all)', 'if (!all || number > 25)')", "index"),
    "09-38": "assert [count[ord(letter) - ord('a')] for letter in 'abz'] == [3, 3, 0]",
    "09-41": "assert ended.returncode == 1 and explain(ended.stderr).kind == 'stack'",
    "09-45": refused("skipping", "release"),
    "09-48": "assert set(events.to_dataframe()['comm'].astype(str)) == {'ann'}",
    "09-50": refused("redirecting", "helper"),
    "09-59": "found = events.to_dataframe(); assert found['answer'].iloc[0] < 0 and found['value'].iloc[0] == 0",
    # 10: each call is counted once, whatever the key; nothing is missing but what a full hash refused.
    "10-08": "assert set(df) == {'pid', 'comm', 'value'} and set(df['pid']) == set(made.pids) "
    "and (df['value'] == 1000).all() and len(df) == 4",
    "10-14": "assert seen == sorted(seen) and seen[0] <= total() - before == 60_000",
    "10-16": "assert made.calls == 6000 and few['value'].sum() == 4000 and len(few) == 4",
    "10-20": "import warnings; warnings.simplefilter('ignore'); "
    "assert total() == 4000 and bpf['refused'][0].value == 2000; warnings.simplefilter('default')",
    "10-22": "each = _.filter(like='value').iloc[0]; assert each.iloc[0] + each.iloc[-1] == each.sum() == 300",
    "10-28": "assert gaps['value'].sum() == 2998 and len(gaps) == 64",
    # A count costs the reader a fraction of the events, though a busy machine may add a tenth of a second.
    # The events are all accounted for.
    "10-38": "assert (costs.loc[['count', 'histogram'], 'reader_s'] < costs.loc['events', 'reader_s'] / 2).all() "
    "and costs.loc['events', ['rows', 'lost']].sum() == 1_000_000 and list(costs['rows'])[1:] == [1, 64]",
    # A commit is three writes of data, two of metadata and four flushes, as long as no other commit is near.
    "10-51": "assert bpf['issued'][0].value == counted + waiting",
    "10-53": "one = by_kind.loc[1] / 301; assert abs(one['data'] - 3) < 0.2 and abs(one['metadata'] - 2) < 0.2 "
    "and abs(one['flush'] - 4) < 0.2",
    "10-62": "want = {1: (1, 1, 2, 2), 2: (1, 0, 0, 0), 3: (1, 1, 0, 1), 4: (1, 1, 0, 1)}; "
    "got = by_turn.reindex(columns=['call', 'data', 'metadata', 'flush']).fillna(0); "
    "assert (got['call'] == 1).all() and all(abs(got.loc[turn] - list(want[turn])).max() < 0.1 for turn in want)",
    "10-64": "assert (times['requests_ms'] <= times['call_ms'] * 1.05).all() "
    "and 0.2 < times['requests_ms'].sum() / times['call_ms'].sum() < 1",
    # 11: every switch is seen, as the kernel's own account says, and on and off the CPU add up to the till's own clock.
    "11-16": "assert any('swapper' in name for name in top['prev_comm']) "
    "and any('jbd2' in name for name in switches['prev_comm'])",
    "11-18": "assert ours == sum(account.values()) > 50",
    "11-25": "assert seconds <= on_s + off_s < seconds + 0.1 + 0.02 * seconds and off_s > 0.2 * seconds",
    "11-29": "names = [bpf.ksym(address) for address in bpf['stacks'].walk(int(longest['kernel_stack']))]; "
    "assert any(b'sys_fdatasync' in name for name in names) and b'sched_switch' in names[0] "
    "and names.index(b'__schedule') < names.index(b'ext4_sync_file')",
    "11-31": "assert waiting['off_ns'].sum() == off['value'].sum()",
    "11-35": "assert share > 0.8",
    "11-37": "assert any('jbd2' in name for name in by_kind.index) and by_kind.idxmax() and len(by_kind) >= 3 "
    "and {'file_write_and_wait_range_[k]', 'blkdev_issue_flush_[k]'} <= set(by_kind.index)",
    "11-41": "assert 0.3 * ran_s < samples / 99 < 1.1 * ran_s + 0.1",
    "11-43": "through = [sum(call in stack for stack in running['stack']) for call in "
    "('sys_fdatasync', 'sys_openat', 'sys_pwrite64', 'sys_unlink')]; assert min(through) > 0 "
    "and running.loc[running['stack'].str.contains('sys_fdatasync'), 'count'].sum() < 0.8 * samples",
    "11-45": "assert outside['box'].str.startswith('[unknown in ').any() and (outside['box'] == '[unknown]').any()",
    "11-47": "assert '[process has ended]' in _['stack'].iloc[0]",
    "11-49": "assert 'kernel EFAULT' in running.attrs['missing'] and 'kernel EFAULT' not in waiting.attrs['missing']",
    "11-52": "assert few['value'].sum() == off['value'].sum() and any('EEXIST' in why for why in few.attrs['missing'])",
    "11-58": "by = ours.set_index('comm'); assert sorted(ours['comm']) == ['find', 'sh', 'sort', 'tail'] "
    "and by.loc[['find', 'sort', 'tail'], 'exec_ns'].max() < by['exit_ns'].min() == by.loc['find', 'exit_ns']",
    # 12: who is told what; a breakpoint while it is attached; and the time of a sale is in COMMIT.
    "12-14": "sql = df['sql'].astype(str).str.strip().tolist(); assert sql.count('BEGIN') == sql.count('COMMIT') == 3 "
    "and [sum(one.startswith(word) for one in sql) for word in ('CREATE', 'SELECT', 'INSERT')] == [1, 2, 1]",
    "12-16": "seen = _; assert seen['ann'] == seen['bob'] == 21 and seen['the notebook'] >= 1",
    "12-18": "assert len(df) == 21 and set(df['pid']) == {ann.pid} and events.lost == 0",
    "12-22": "assert before == after != attached == 'cc' + before[2:]; first = offered[b'sqlite3_step']; "
    "assert Path(SQLITE).read_bytes()[first : first + 4].hex(' ') == before",
    "12-26": "assert 'sqlite3_prepare_v2' in _ and not functions(b'^syncJournal$')",
    "12-32": "assert by_sql['calls'].to_dict() == {'BEGIN': 50, 'COMMIT': 50, "
    "'INSERT INTO sale (what) VALUES (\\'tea\\')': 50} and by_sql['total_ms'].idxmax() == 'COMMIT'",
    "12-33": "assert 0.5 < share < 1 and set(df['result']) == {sqlite3.SQLITE_DONE} and events.lost == 0",
    # A call inside itself hides the outer one three times of four, unless the key tells them apart.
    "12-37": "assert len(outer_steps(steps)) == 1",
    "12-39": "assert len(found) == 4 and not found['took_ns'].isna().any()",
    # The floors lie within each other, by one clock, and the journal is removed when all has been flushed.
    "12-46": """assert events.lost == 0
times = {what: part.sort_values("start_ns")[["start_ns", "end_ns"]].to_numpy() for what, part in commit.groupby("what")}
assert {what: len(times[what]) for what in (1, 3, 4, 5)} == {1: 1, 3: 4, 4: 1, 5: 4}
assert (times[3][:, 0] < times[5][:, 0]).all() and (times[5][:, 1] < times[3][:, 1]).all()
assert times[3][-1, 1] < times[4][0, 0] and len(times[2]) >= 3 and len(times[8]) >= 3 and len(times[6]) >= 2""",
    "12-49": "assert 0 < disk < whole and 0.3 * whole < flushing < whole",
    # Every probe counts every call, and a uprobe costs several times what a probe in the kernel does.
    "12-54": "assert (rounds.query('probe != \"none\"')['runs'] == 1000).all(); "
    "extra = costs.median() - costs['none'].median(); assert min(extra['uprobe'], extra['uretprobe']) "
    "> 3 * max(extra['kprobe'], extra['kretprobe'], extra['tracepoint'], 0)",
    "12-57": "assert {'python:gc__start', 'python:gc__done', 'python:audit', 'python:import__find__load__start', "
    "'python:import__find__load__done'} <= set(_['probe']) and all(note.semaphore for note in notes)",
    # Of 120,000 objects hardly one is garbage; and without the collector, it is never called.
    "12-66": "assert len(df) > 10 and {0, 1} <= set(df['generation']) and df['found'].sum() < 1200 "
    "and 0 < df['ms'].sum() / 1e3 < seconds",
    "12-67": "assert len(without) == 0",
    "12-70": "assert df['done'].tolist().count(0) == df['done'].tolist().count(1) > 20 and events.lost == 0 "
    "and [df['name'].iloc[place] for place in (0, -1)] == ['http.server'] * 2",
    "12-72": "own, ends = folded(df), df['time_ns'].iloc[[0, -1]].astype(int); "
    "assert own['self_ns'].sum() == ends.iloc[1] - ends.iloc[0] and own['stack'].str.startswith('http.server').all()",
    "12-82": "assert _ == missed(64) == 0 < missed(65)",
    "12-94": "assert code_of(os.getpid(), b'sqlite3_step') == before",
    # 13: two sockets to a connection, whose structs are used again; the first close is the shop's.
    "13-06": "assert STATES[1] == 'ESTABLISHED' and STATES[10] == 'LISTEN' and len(STATES) >= 12",
    "13-14": "assert events.lost == 0 and df['socket'].nunique() <= 6 and set(df['address']) == {'127.0.0.1'}",
    "13-16": "assert len(lives) == 6 and (lives['life_ms'] > 25).all() and dict(lives['states'].value_counts()) == {"
    "'SYN_SENT → ESTABLISHED → CLOSE_WAIT → LAST_ACK → CLOSE': 3, "
    "'SYN_RECV → ESTABLISHED → FIN_WAIT1 → FIN_WAIT2 → CLOSE': 3}",
    "13-18": "assert sorted(df['who'].unique()) == [f'{who} {n}' for who in ('customer', 'shop') for n in (1, 2, 3)]",
    "13-20": "acts = df.groupby('after')['comm'].unique(); assert 'customer' in _['SYN_RECV', 'ESTABLISHED'] "
    "and list(acts['SYN_SENT']) == ['customer'] and list(acts['FIN_WAIT1']) == ['shop']",
    # The body waits for the acknowledgement of the head, for 40 ms; the first order does not, nor any with TCP_NODELAY.
    "13-27b": "assert len(took(plain)) == 50 and took(plain)['took_ns'].median() > 38e6",
    "13-29": "ms = (one['time_ns'] - middle['begin']) / 1e6; body = ms[one['size'] == 100].iloc[0]; "
    "ack = ms[(one['to'] == 'client') & (one['size'] == 0)].iloc[0]; assert 35 < ack <= body",
    "13-31b": "assert slow > 25 and 0.7 * slow <= ran_out() - before <= 1.3 * slow + 5",
    "13-33": "assert len(took(quick)) == 50 and took(quick)['took_ns'].median() < 25e6 "
    "and (took(quick)['took_ns'] > 35e6).sum() < 15",
    # All packets of a socket are seen, on the CPU that sent them, and a million through XDP are all accounted for.
    "13-44b": "seen = ports.set_index('key').filter(like='value'); "
    "assert list(seen.loc[[7, 9]].sum(axis=1)) == [600, 400] and seen.to_numpy().sum() == 1000 "
    "and seen.loc[7].iloc[0] > 500 and seen.loc[9].iloc[-1] > 300",
    "13-46": "assert frame[23] == 17 and frame.endswith(b'tea') and len(frame) == 45",
    "13-53": "assert received + dropped + lost == sent == 1_000_000 and min(received, dropped) > 400_000 "
    "and account[4].split()[1] == str(sent - lost)",
    "13-58": "assert list(_['value']) == [10, 10, 10]",
    "13-65": "sent, xdp, tc, sock = _['value']; lost = int(account[4].split()[3]); "
    "assert sent == 1_600_000 and xdp + lost == 1_200_000 and 0 <= 400_000 - (xdp - tc) <= lost "
    "and 0 <= 400_000 - (tc - sock) <= lost and 0 <= 400_000 - sock <= lost",
    "13-67": "assert per_packet['median'].loc[PLACES[1:]].is_monotonic_increasing",
    "13-70": "assert _.is_monotonic_increasing and _['the socket'] > 0",
    # 14: three probes, bpftrace and C count the same calls; fentry costs least, and only a tracepoint costs others.
    "14-13": "assert (_['calls'] == 4 * (SALES + 1)).all() and _['total_ms'].idxmax() == 'tracepoint'",
    "14-19": "fdatasync, getppid = (spread[name][0.25] for name in ('fdatasync_ns', 'getppid_ns')); "
    "assert list(fdatasync.sort_values().index) == ['none', 'fentry', 'tracepoint', 'kprobe'] "
    "and getppid.idxmax() == 'tracepoint' and getppid['tracepoint'] > 1.1 * getppid['none']",
    "14-22": "assert f'@calls: {4 * (SALES + 1)}' in said.stdout",
    "14-24": "assert maps['@calls'] == 4 * (SALES + 1) == sum(one['count'] for one in maps['@us'])",
    "14-34": "assert by_c['calls'] == of_till(bpf, 'calls') == 4 * (SALES + 1) "
    "and abs(by_c['took_ns'] / of_till(bpf, 'took_ns') - 1) < 0.1",
    # The field is where it was for the compiler, less the 64 bytes; the number in the instruction is put right.
    "14-40": "[line] = [line for line in task if \"'tgid'\" in line]; place = int(line.split('=')[-1]) // 8; "
    "assert any(text.endswith(f'off {place + 64} -> {place}') for text in told) and not load_once('other.bpf.o')",
    "14-42": "assert json.loads(ran.stdout)['calls'] == 4 * (SALES + 1)",
    "14-44": "assert any('access' in text for text in said) and 'Error: failed to load object file' in said",
    "14-55": "assert inside == 1 and len(seen) == 1 and inside not in list(seen['key'])",
    "14-58": "assert list(_['fentry']) == ['no', 'no', 'yes', 'yes', 'yes'] "
    "and list(_['kprobe']) == list(_['tracepoint']) == ['no', 'no', 'no', 'no', 'yes']",
    "14-60": "assert [list(allowed[name]) for name in heads] == [['yes', 'yes'], ['no', 'yes'], ['yes', 'yes']] "
    "and paranoid.read_text() == before",
    "14-62": "assert set(_.values()) == {'y'}",
    "14-83": "assert set(morning['comm']) >= {'dd', 'sync'} and (morning['comm'] == 'sync').sum() == 8 "
    "and morning['took_ns'].min() > 0; till, copies = (morning[morning['comm'].isin(names)] "
    "for names in (set(morning['comm']) - {'dd', 'sync'}, {'dd'})); assert any(((till['time_ns'] > one.time_ns - "
    "one.took_ns) & (till['time_ns'] - till['took_ns'] < one.time_ns)).any() for one in copies.itertuples())",
    "14-88": "assert not subprocess.run(['bpftool', 'prog', 'show'], capture_output=True).stdout",
}


def with_claims(notebook: nbformat.NotebookNode, say: translation.Say) -> nbformat.NotebookNode:
    """Put each claim, in the notebook's words, in a cell of its own behind the cell whose numbers it is about."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.id in CLAIMS:
            cells.append(nbformat.v4.new_code_cell(translation.code(CLAIMS[cell.id], say), id=f"{cell.id}-claim"))
    notebook.cells = cells
    return notebook
