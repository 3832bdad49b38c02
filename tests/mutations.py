"""python -m tests.mutations [WORD …]: break one thing at a time, in a copy of the project, and see the tests notice.

Each line below is a mistake that somebody could make, and the test that is there to catch it. All of these tests pass
first, on the unbroken copy; then each one has to fail. WORDs choose mutations by a part of their file or their test.
It takes root, and about half an hour for all of them.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from helpers.lab import cache
from tests.__main__ import GROUPS

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans become children of this process


class Mutation(NamedTuple):
    file: str
    before: str
    after: str
    group: str
    test: str


# fmt: off
MUTATIONS = [
    # helpers/: from the kernel's bytes to a plot
    Mutation(
        "helpers/draw/style.py", "return ours | normalize_kwargs(kwargs, artist)", "return ours",
        "unit", "tests/unit/test_plots.py::test_what_else_is_said_by_name_goes_on_to_matplotlib",
    ),
    Mutation(
        "helpers/draw/style.py", "    @styled()\n    def set_title", "    def set_title",
        "unit", "tests/unit/test_plots.py::test_a_title_set_later_looks_the_same",
    ),
    Mutation(
        "helpers/draw/display.py", "        return self._html\n", "        return None\n",
        "unit", "tests/unit/test_road_and_listing.py::test_the_listing_in_a_notebook_says_what_the_text_says",
    ),
    Mutation(
        "helpers/draw/histograms.py", "(values <= 0).sum()", "(values < 0).sum()",
        "unit", "tests/unit/test_plots.py::test_times_out_of_order_make_no_negative_gaps",
    ),
    Mutation(
        "helpers/collect/stacks.py", "                missing[f\"{kind} {why}\"] =", "                continue\n                missing[f\"{kind} {why}\"] =",
        "unit", "tests/unit/test_stacks.py::test_a_missing_stack_is_named_and_counted",
    ),
    Mutation(
        "helpers/collect/stacks.py", "in reversed(addresses)", "in addresses",
        "host", "tests/live/test_stacks.py::test_a_chain_of_known_functions_of_a_process",
    ),
    Mutation(
        "helpers/collect/stacks.py", "key = address, pid\n", "key = address, 0\n",
        "unit", "tests/unit/test_stacks.py::test_the_same_address_has_another_name_in_another_process",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", 'None if name == "[unknown]" else name', "name",
        "host", "tests/live/test_stacks.py::test_a_process_that_was_never_asked_about_while_it_lived",
    ),
    Mutation(
        "helpers/draw/flame_graph.py", "            hidden += 1\n", "            pass\n",
        "unit", "tests/unit/test_flame_graph.py::test_what_is_not_named_or_not_drawn_is_counted",
    ),
    Mutation(
        "helpers/draw/flame_graph.py", "        at += width\n", "        at += 1\n",
        "unit", "tests/unit/test_flame_graph.py::test_boxes_are_as_wide_as_what_was_spent",
    ),
    Mutation(
        "helpers/draw/gantt.py", "spent(begins) - spent(ends)", "spent(begins)",
        "unit", "tests/unit/test_gantt.py::test_of_very_many_it_is_counted_how_many_last_at_a_time",
    ),
    Mutation(
        "helpers/draw/gantt.py", "0.8 * legend_rows", "0.8",
        "unit", "tests/unit/test_gantt.py::test_a_legend_of_two_lines_covers_no_bar",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", "for fd in bpf.__dict__.pop(FORGOTTEN, [])", "for fd in []",
        "vm", "tests/live/test_uprobes.py::test_what_is_attached_twice_is_detached_twice",
    ),
    Mutation(
        "helpers/draw/gantt.py", "shown[np.argsort(firsts[shown], kind=\"stable\")]", "shown",
        "unit", "tests/unit/test_gantt.py::test_bars_and_rows_are_where_they_should_be",
    ),
    Mutation(
        "helpers/draw/live.py", "    plt.close(figure)", "    pass",
        "unit", "tests/unit/test_plots.py::test_live_draws_again_and_ends",
    ),
    Mutation(
        "helpers/draw/road.py", "if stop not in STOPS:", "if False:",
        "unit", "tests/unit/test_road_and_listing.py::test_a_stop_that_is_not_on_the_road",
    ),
    Mutation(
        "helpers/language.py", 'folder.parent.name == "notebooks"', "False",
        "unit", "tests/unit/test_language.py::test_the_folder_decides",
    ),
    Mutation(
        "helpers/language.py", 'and "#, fuzzy" not in entry', "",
        "unit", "tests/unit/test_language.py::test_what_is_fuzzy_or_missing_or_gone_is_english",
    ),
    Mutation(
        "helpers/draw/values.py", '"us": 1e3', '"us": 1e6',
        "unit", "tests/unit/test_plots.py::test_durations_of_many_kinds",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", "        bpf.cleanup()\n", "        pass\n",
        "host", "tests/live/test_trace_pipe.py::test_running_the_cell_twice",
    ),
    Mutation(
        "helpers/collect/clocks.py", "(before + after) // 2", "(before + after)",
        "unit", "tests/unit/test_clock.py::test_now_is_now",
    ),
    Mutation(
        "helpers/collect/collection.py", "        elif channel.lost:\n", "        elif False:\n",
        "unit", "tests/unit/test_collector.py::test_loss_is_said_every_time",
    ),
    Mutation(
        "helpers/collect/columns.py", "from_codes(rank[codes],", "from_codes(codes,",
        "unit", "tests/unit/test_columns.py::test_many_categories",
    ),
    Mutation(
        "helpers/collect/functions.py", "for name in found if times[name] == 1", "for name in found",
        "unit", "tests/unit/test_functions.py::test_patterns",
    ),
    Mutation(
        "helpers/collect/functions.py", "listed.isdisjoint({name} | same)", "listed.isdisjoint({name})",
        "unit", "tests/unit/test_functions.py::test_patterns",
    ),
    Mutation(
        "helpers/course/workloads.py", "cpus[number % len(cpus)] if cpus", "cpus[0] if cpus",
        "host", "tests/live/test_workload.py::test_cpu_is_kept",
    ),
    Mutation(
        "helpers/collect/refusals.py", "self._with_lines(log) if answer == errno.EINVAL else log", "log",
        "host", "tests/live/test_explain.py::test_refusal",
    ),
    Mutation(
        "helpers/course/c_lines.py", "place + 1, self.rows[place]", "place, self.rows[place]",
        "unit", "tests/unit/test_explain.py::test_a_log_as_text",
    ),
    Mutation(
        "helpers/course/explain.py", "os.write(2, self._capture.said.encode())", "pass",
        "host", "tests/live/test_explain.py::test_in_a_block_what_works_works_and_what_is_said_is_said",
    ),
    Mutation(
        "helpers/course/verdicts.py", "log.is_null(value)", "False",
        "unit", "tests/unit/test_explain.py::test_null_for_certain_is_not_the_kernels_memory",
    ),
    Mutation(
        "helpers/course/verifier.py", 'if operator == "+" else (None, None)', "if False else (None, None)",
        "unit", "tests/unit/test_explain.py::test_a_log_as_text",
    ),
    Mutation(
        "helpers/course/exercises.py", "found <= most,", "True,",
        "host", "tests/live/test_exercise_checks.py::test_attached_twice",
    ),
    Mutation(
        "helpers/course/exercises.py", "self._namespace[name] = value", "pass",
        "unit", "tests/unit/test_exercises.py::test_a_check_gives_the_learners_names_back",
    ),
    Mutation(
        "helpers/lab/machine.py", "if namespace == FIRST_PID_NAMESPACE:", "if True:",
        "unit", "tests/unit/test_machine.py::test_each_no_and_what_to_do",
    ),
    Mutation(
        "helpers/lab/machine.py", 'if mode == "confidentiality":', "if False:",
        "unit", "tests/unit/test_machine.py::test_each_no_and_what_to_do",
    ),
    Mutation(
        "helpers/collect/interrupts.py", "            DeferredInterrupt.pending = True\n", "            pass\n",
        "unit", "tests/unit/test_collector.py::test_stop_while_it_ends_does_not_hide_the_loss",
    ),
    Mutation(
        "helpers/collect/interrupts.py", "DeferredInterrupt.pending and _in_main_thread()", "DeferredInterrupt.pending",
        "unit", "tests/unit/test_collector.py::test_a_collection_in_another_thread_does_not_take_the_stop_of_this_one",
    ),
    Mutation(
        "helpers/collect/interrupts.py", "            handler._codes |= self._codes", "            pass",
        "unit", "tests/unit/test_collector.py::test_a_block_within_another_defers_its_own_stop",
    ),
    Mutation(
        "helpers/course/cable.py", "            with before:\n                _go_to(before)", "            with before:\n                pass",
        "host", "tests/live/test_cable.py::test_it_is_gone_after_an_error",
    ),
    Mutation(
        "helpers/course/cable.py", "with end:  # before there is an interface", "with one:",
        "host", "tests/live/test_cable.py::test_nobody_speaks_unasked",
    ),
    Mutation(
        "helpers/course/packets.py", "flags=LIVE_FRAMES", "flags=0",
        "host", "tests/live/test_cable.py::test_a_million_packets_are_all_accounted_for",
    ),
    Mutation(
        "helpers/collect/perf_output.py", "        self._tail.value = head\n", "",
        "host", "tests/live/test_collectors.py::test_many_events_none_lost",
    ),
    Mutation(
        "helpers/collect/perf_output.py", "max(self.reported_lost, self._counts()[2])", "self.reported_lost",
        "host", "tests/live/test_perf_output.py::test_loss_is_exact_when_the_last_events_are_lost",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", "            self.put(cpu, lib.perf_reader_fd(reader))\n", "            pass\n",
        "host", "tests/live/test_perf_output.py::test_gives_the_table_back_to_open_perf_buffer",
    ),
    Mutation(
        "helpers/collect/perf_output.py", "self._counts()[1] != self._counts()[1]", "True",
        "vm", "tests/live/test_machine_stress.py::test_a_cpu_goes_and_comes_back",
    ),
    Mutation(
        "helpers/collect/perf_output.py", "            self._a_cpu_came_late = True\n", "",
        "vm", "tests/live/test_machine_stress.py::test_a_cpu_goes_and_comes_back",
    ),
    Mutation(
        "helpers/collect/perf_output.py",
        "            self._consume(cpu)\n            self._close(cpu)", "            self._close(cpu)",
        "vm", "tests/live/test_machine_stress.py::test_what_waits_in_the_ring_of_a_cpu_that_goes",
    ),
    Mutation(
        "helpers/draw/plots.py", "* 1e9 / np.diff(edges)\n", "* 1e9\n",
        "unit", "tests/unit/test_plots.py::test_bars_add_up",
    ),
    Mutation(
        "helpers/collect/records.py", "rows[~discarded] if discarded.any() else rows", "rows",
        "unit", "tests/unit/test_records.py::test_ringbuf_discarded_and_odd_records_at_any_place",
    ),
    Mutation(
        "helpers/collect/ring_buffer.py", "            self._was_full = True\n", "            pass\n",
        "host", "tests/live/test_ring_buffer.py::test_full_without_a_counter_is_said",
    ),
    Mutation(
        "helpers/collect/ring_buffer.py", "start = begin % self._size", "start = begin % (2 * self._size)",
        "host", "tests/live/test_ring_buffer.py::test_round_the_ring_many_times",
    ),
    Mutation(
        "helpers/draw/listing.py", 'len(text) - len(text.lstrip("\\n")) + 1', "1",
        "unit", "tests/unit/test_road_and_listing.py::test_lines_have_the_compilers_numbers",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", "sum(counts) - self._begin", "counts[0] - self._begin",
        "host", "tests/live/test_collectors.py::test_under_overload_fired_is_received_and_lost",
    ),
    Mutation(
        "helpers/collect/tracefs.py", '"sys/kernel/debug/tracing")', '"sys/kernel/debug")',
        "unit", "tests/unit/test_tracefs.py::test_either_mount_point",
    ),
    Mutation(
        "helpers/collect/trace_pipe.py", "    alike &= ((digits < 10) | (digits == BLANK)).all(0)\n", "",
        "unit", "tests/unit/test_trace_lines.py::test_odd_ones_among_usual_ones",
    ),
    Mutation(
        "helpers/course/child.py", "            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)\n", "",
        "host", "tests/live/test_workload.py::test_children_die_with_their_parent",
    ),
    Mutation(
        "helpers/collect/maps.py", "-(-value.itemsize // 8) * 8 if", "value.itemsize if",
        "unit", "tests/unit/test_maps.py::test_values_of_each_cpu_are_padded_and_summed_or_a_column_each",
    ),
    Mutation(
        "helpers/collect/maps.py", "rows >= layout.max_entries", "rows > layout.max_entries",
        "host", "tests/live/test_maps.py::test_a_full_hash",
    ),
    Mutation(
        "helpers/collect/bcc_internals.py", "error == errno.ENOSPC or done == room", "done == room",
        "unit", "tests/unit/test_maps.py::test_every_entry_once_whatever_the_room",
    ),
    Mutation(
        "helpers/draw/log2.py", "df[counts > 0]", "df",
        "unit", "tests/unit/test_plots.py::test_slots_add_up_and_end_where_they_say",
    ),
    Mutation(
        "helpers/draw/heatmap.py", "width = step * -(", "width = step * 3 // 2 * -(",
        "unit", "tests/unit/test_plots.py::test_intervals_of_a_heat_map_make_no_stripes",
    ),
    # helpers/lab/: the virtual machine from outside
    Mutation(
        "helpers/lab/cache.py", "path.mkdir(mode=0o700,", "path.mkdir(mode=0o755,",
        "lab", "tests/lab/test_faults.py::test_a_new_cache_is_closed_to_others",
    ),
    Mutation(
        "helpers/lab/cache.py", "if OURS.fullmatch(entry.name) and entry", "if entry",
        "unit", "tests/unit/test_cache.py::test_make_clean_leaves_other_peoples_files",
    ),
    Mutation(
        "helpers/lab/building.py", "        fcntl.flock(descriptor, fcntl.LOCK_EX)\n", "        pass\n",
        "unit", "tests/unit/test_setup.py::test_two_that_begin_at_once_do_not_fill_one_environment",
    ),
    Mutation(
        "helpers/lab/debian.py", ', "LANGUAGE=C.UTF-8"]', "]",
        "unit", "tests/unit/test_setup.py::test_apt_speaks_english",
    ),
    Mutation(
        "helpers/lab/setup.py", "if names and not debian.ask_for_root", "if names and None is debian.ask_for_root",
        "unit", "tests/unit/test_setup.py::test_a_sudo_that_forgets_is_asked_once_for_all_packages",
    ),
    Mutation(
        "helpers/lab/choose.py", 'if wanted == "host" and missing:', "if False:",
        "lab", "tests/lab/test_faults.py::test_host_mode_without_root",
    ),
    Mutation(
        "helpers/lab/causes.py", "    if re.search(FULL, said):\n", "    if False:\n",
        "lab", "tests/lab/test_faults.py::test_disk_full_while_building",
    ),
    Mutation(
        "helpers/lab/image.py", "! -name dev ", "",
        "fresh", "tests/fresh/test_fresh.py::test_first_command",
    ),
    Mutation(
        "helpers/lab/setup.py", "max(python, max(later, disk) + boot)", "python + later + disk + boot",
        "unit", "tests/unit/test_setup.py::test_what_runs_side_by_side_takes_as_long_as_its_longest",
    ),
    Mutation(
        "helpers/lab/kernel.py", "explain(connection_file, error) if os.getppid() == jupyter else 1", "1",
        "lab", "tests/lab/test_faults.py::test_no_template_yet",
    ),
    Mutation(
        "helpers/lab/precompile.py", '"LD_PRELOAD": str(lost)', '"UNUSED": str(lost)',
        "lab", "tests/lab/test_compiles.py::test_nothing_else_changes",
    ),
    Mutation(
        "helpers/lab/requirements.py", "if missing := set(lists[name]) -", "if missing := set() -",
        "unit", "tests/unit/test_requirements.py::test_unlocked_dependency_is_named",
    ),
    Mutation(
        "helpers/lab/serve.py", '"ipc" if sockets.possible() else "tcp"', '"tcp"',
        "lab", "tests/lab/test_isolation.py::test_another_user_reaches_no_kernel",
    ),
    Mutation(
        "helpers/lab/session.py", "        machine.process.kill()\n", "        pass\n",
        "lab", "tests/lab/test_kernel.py::test_killed_parent_leaves_no_kernel",
    ),
    Mutation(
        "helpers/lab/sockets.py", "    writer.write_eof()\n", "    pass\n",
        "unit", "tests/unit/test_sockets.py::test_all_bytes_come_back_in_order_and_the_end_is_told",
    ),
    Mutation(
        "helpers/lab/student.py", "if not os.path.lexists(target):", "if True:",
        "classroom", "tests/classroom/test_classroom.py::test_notebook_dir_keeps_the_students_work_and_gets_what_is_new",
    ),
    Mutation(
        "helpers/lab/template.py", "    if not whole:\n", "    if False:\n",
        "lab", "tests/lab/test_faults.py::test_damaged_template",
    ),
    Mutation(
        "helpers/lab/template.py", 'if expect(machine, "exit", vm.DEADLINE)["exit"]:', "if False:",
        "lab", "tests/lab/test_trust.py::test_a_machine_of_kvm_counts_only_after_a_trial",
    ),
    Mutation(
        "helpers/lab/vm.py", "restrict=on", "restrict=off",
        "lab", "tests/lab/test_isolation.py::test_a_machine_reaches_nothing_through_its_gateway",
    ),
    Mutation(
        "helpers/lab/vm.py", '.replace(",", ",,")', "",
        "lab", "tests/lab/test_run.py::test_status_output_and_timeout",
    ),
    # the guest's start-up: from its first boot to a notebook's kernel
    Mutation(
        "helpers/lab/guest.py", '    app.session.key = request.get("key", "").encode()\n', "",
        "lab", "tests/lab/test_kernel.py::test_interrupt_restart_and_shutdown",
    ),
    Mutation(
        "helpers/lab/guest.py", "    app.shell.reset(new_session=False)\n", "",
        "lab", "tests/lab/test_kernel.py::test_interrupt_restart_and_shutdown",
    ),
    Mutation(
        "helpers/lab/guest.py", "    else:\n        limit_memory()\n", "",
        "lab", "tests/lab/test_stress.py::test_guest_without_memory",
    ),
    Mutation(
        "helpers/lab/guest.py", '    reseed(base64.b64decode(request["seed"]))\n', "",
        "lab", "tests/lab/test_kernel.py::test_interrupt_restart_and_shutdown",
    ),
    Mutation(
        "helpers/lab/guest.py", "status if status >= 0 else 128 - status", "0",
        "lab", "tests/lab/test_run.py::test_status_output_and_timeout",
    ),
    # notebooks/: what is written is what happens
    Mutation(
        "notebooks/02_trace_pipe_to_dataframe.ipynb", 'rate=10, name=\\"steady\\"', 'rate=20, name=\\"steady\\"',
        "notebooks", "tests/notebooks/test_notebooks.py::test_run_all_twice_in_one_kernel[02_trace_pipe_to_dataframe]",
    ),
    Mutation(
        "notebooks/02_trace_pipe_to_dataframe.ipynb",
        'my_df[\\"ms\\"] = (df[\\"time_ns\\"] - df[\\"time_ns\\"].min()) / 1e6',
        'my_df[\\"ms\\"] = (df[\\"time_ns\\"] - df[\\"time_ns\\"].min()) / 1e9',
        "exercises",
        "tests/notebooks/test_notebooks.py::test_exercises_answered_wrongly_and_well[02_trace_pipe_to_dataframe]",
    ),
    Mutation(
        "notebooks/03_hello_perf_output.ipynb", "open_perf_buffer(look)", "open_perf_buffer(watch)",
        "unit", "tests/unit/test_notebook_files.py::test_outputs_come_from_this_source[03_hello_perf_output]",
    ),
]
# fmt: on


def main(words: list[str]) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    chosen = [each for each in MUTATIONS if not words or any(word in each.file + each.test for word in words)]
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "course")
        shutil.copytree(cache.PROJECT, project, ignore=shutil.ignore_patterns(".git", ".coverage*", "__pycache__"))
        for group in dict.fromkeys(each.group for each in chosen):
            tests = list(dict.fromkeys(each.test for each in chosen if each.group == group))
            print(f"{'unbroken':<12} {group}: {len(tests)} tests", flush=True)
            if failed := failures(project, group, *tests):
                print(*failed, sep="\n")
                return 1
        survived = [each for each in chosen if not caught(project, each)]
    print(f"\n{len(chosen) - len(survived)} caught, {len(survived)} survived")
    return bool(survived)


def caught(project: Path, mutation: Mutation) -> bool:
    """Break the copy, run the test that should notice, mend the copy; say what happened."""
    start, path = time.monotonic(), project / mutation.file
    whole = path.read_text()
    sound = templates(project)
    path.write_text(whole.replace(mutation.before, mutation.after))
    broken = templates(project) - sound
    try:
        failed = failures(project, mutation.group, mutation.test)
    finally:
        path.write_text(whole)
        # Broken code may leave processes behind.
        for orphan in psutil.Process().children(recursive=True):
            orphan.kill()
        # A broken guest is frozen into a template of its own.
        for template in broken:
            shutil.rmtree(template, ignore_errors=True)
    word = "caught" if failed else "SURVIVED"
    line = mutation.before.strip().partition("\n")[0]
    print(f"{word:<12} {mutation.file}: {line}")
    print(f"{'in ' + mutation.group:<12} {mutation.test} ({time.monotonic() - start:.0f} s)", flush=True)
    return bool(failed)


def templates(project: Path) -> set[str]:
    """Return the paths of the templates that the copy would thaw, none if it is too broken to say so."""
    say = """
from helpers.lab import image, template
for accelerator in template.BOOT:
    print(template.location(image.DEFAULT_SUITE, accelerator))
"""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", say]
    said = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True).stdout
    return set(said.splitlines())


def failures(project: Path, group: str, *tests: str) -> list[str]:
    """Run tests of a group in the copy; return pytest's lines on those that failed."""
    command = GROUPS[group].command
    at = max(place for place, word in enumerate(command) if word.startswith("tests/"))
    done = subprocess.run(
        [*command[:at], *tests, *command[at + 1 :]],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    # A KeyboardInterrupt that nothing has caught ends pytest itself.
    failed = re.findall(r"^(?:FAILED|ERROR|!+ KeyboardInterrupt) .*", done.stdout, re.M)
    if done.returncode and not failed:
        sys.exit(f"pytest did not run:\n{done.stdout[-2000:]}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
