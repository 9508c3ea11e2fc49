"""What `perf script` prints becomes stacks with counts, whatever threads and functions are called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.perf_script import fold, frame_of, kept, safe

DATA = Path(__file__).parents[2] / "data/profile"
RECORDINGS = Path(__file__).parents[4] / "shared/recordings/perf"
HOSTILE = (DATA / "perf-6.1.script.hostile-names.txt").read_text(encoding="utf-8", errors="surrogateescape")
RUST = (DATA / "perf-6.1.script.rust-v0.txt").read_text(encoding="utf-8")


def sample(comm: str, *frames: str, pid: int = 7) -> str:
    lines = "".join(f"\t{frame}\n" for frame in frames)
    return f"{comm}  {pid}/{pid + 1}  23568.013394:   10101010 cpu-clock: \n{lines}\n"


def reference(text: str) -> dict[str, int]:
    """Blocks between empty lines, for well-behaved names only: slow and obvious."""
    counts: dict[str, int] = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line.strip() and "PERF_RECORD" not in line]
        if not lines:
            continue
        frames = []
        for line in lines[1:]:
            words = line.split()
            name = " ".join(words[1:-1]).split("+0x")[0]
            frames.append(name + ("_[k]" if "[kernel.kallsyms]" in words[-1] else ""))
        thread = lines[0].split("  ")[0].strip()
        stack = ";".join([thread, *reversed(frames)])
        counts[stack] = counts.get(stack, 0) + 1
    return counts


def test_a_real_recording_folds_as_the_obvious_way_says():
    pid = int(RUST.split("/")[0].split()[-1])
    folded = fold(RUST, pid=pid)
    assert dict(folded.stacks) == reference(RUST)
    assert (folded.samples, folded.lost, folded.unread, folded.event) == (38, 0, 0, "cpu-clock")


def test_hostile_thread_names_stay_one_frame_and_lost_samples_are_counted():
    folded = fold(HOSTILE, pid=1559)
    assert folded.lost == 19
    assert folded.samples == 40
    assert folded.unread == 0
    threads = {stack.split(";")[0] for stack in folded.stacks}
    assert threads == {"re call:0", "a b c", "<img src=x>", '"q"?[31m'}
    assert all("\n" not in stack and "\x1b" not in stack for stack in folded.stacks)


def test_the_places_of_samples_are_of_user_code_alone():
    folded = fold(HOSTILE, pid=1559)
    assert {binary for _, _, binary in folded.places} <= {"/opt/demo/bin/busy", "/usr/lib/x86_64-linux-gnu/libc.so.6"}
    assert any(symbol == "cosine_similarity" and offset > 0 for symbol, offset, _ in folded.places)


def test_a_line_break_in_a_threads_name_does_not_break_the_sample():
    text = sample("evil\n\tffff nothing (here)\nrest", "8612b w+0x2b (/bin/x)") + sample("good", "1 w+0x1 (/bin/x)")
    folded = fold(text, pid=7)
    assert folded.samples == 2
    assert all(stack.endswith(";w") for stack in folded.stacks)


@pytest.mark.parametrize("comm", ["1/2 3.1: 4 x:", "7/8 1.5:", ": : :", "7/8", "", " ", "x (y)", "\t1 f (z)"])
def test_a_threads_name_that_looks_like_a_header_is_still_a_name(comm):
    folded = fold(sample(comm, "1 w+0x1 (/bin/x)"), pid=7)
    assert (folded.samples, folded.others) == (1, 0)
    assert next(iter(folded.stacks)).endswith(";w")


def test_samples_of_other_processes_are_left_out_with_all_their_frames():
    text = sample("other", "1 a+0x1 (/bin/y)", pid=8) + sample("ours", "1 w+0x1 (/bin/x)")
    folded = fold(text, pid=7)
    assert dict(folded.stacks) == {"ours;w": 1}
    assert (folded.others, folded.unread) == (1, 0)


def test_a_text_cut_in_the_middle_loses_only_its_last_sample():
    whole = sample("one", "1 w+0x1 (/bin/x)") * 3
    for end in range(len(whole)):
        folded = fold(whole[:end], pid=7)
        assert folded.samples <= 3
        assert set(folded.stacks) <= {"one;w"}, "half a stack is none"


@pytest.mark.parametrize(
    ("line", "name", "place"),
    [
        ("\t  1315 w+0x45 (/tmp/busy)", "w", ("w", 0x45, "/tmp/busy")),
        ("\t  1315 w (/tmp/busy)", "w", ("w", None, "/tmp/busy")),
        ("\tffffffff813ae293 schedule+0x93 ([kernel.kallsyms])", "schedule_[k]", ("", None, "")),
        ("\tffffffffc0123456 ext4_sync_file+0x2 ([ext4])", "ext4_sync_file_[k]", ("", None, "")),
        ("\tffffffffc0123456 foo+0x2 (/lib/modules/6.1/x.ko.xz)", "foo_[k]", ("", None, "")),
        ("\t 0 [unknown] ([unknown])", "[unknown]", ("", None, "")),
        ("\t 7f01 [unknown] (/usr/lib/libc.so.6)", "[libc.so.6]", ("", None, "")),
        ("\tffffffff813ae293 [unknown] ([kernel.kallsyms])", "[unknown]_[k]", ("", None, "")),
        ("\t 7f01 Lfoo; bar (x)+0x3 (/tmp/perf-123.map)", "Lfoo: bar (x)_[j]", ("", None, "")),
        ("\t 7f01 dot (inlined)", "dot_[i]", ("", None, "")),
        ("\t 7f01 w+0x1 (/tmp/a b (1)/x)", "w", ("w", 1, "/tmp/a b (1)/x")),
        ("\t 7f01 w+0x1 (/tmp/x (deleted))", "w", ("w", 1, "/tmp/x (deleted)")),
        ("\t 7f01 __vdso_gettimeofday+0x1 ([vdso])", "__vdso_gettimeofday", ("", None, "")),
    ],
)
def test_frames_are_named_and_marked(line, name, place):
    frame = frame_of(line)
    assert frame is not None
    assert (frame.name, (frame.symbol, frame.offset, frame.binary)) == (name, place)


@given(st.text(max_size=400))
def test_a_name_is_safe_in_a_folded_stack(name):
    once = safe(name)
    assert once
    assert ";" not in once
    assert len(once.splitlines()) == 1
    assert safe(once) == once


@given(
    st.lists(
        st.sampled_from([*RUST.split("\n")[:60], *HOSTILE.split("\n")[:60], "", "\t", "x" * 600 + ":"]), max_size=80
    )
)
def test_lines_in_any_order_are_survived_and_no_sample_is_invented(lines):
    folded = fold("\n".join(lines), pid=1559)
    assert folded.samples == sum(folded.stacks.values())
    assert folded.samples <= lines.count("")


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data):
    text = data.decode("utf-8", "surrogateescape")
    assert fold(text, pid=1).samples == 0 or "/" in text
    fold(HOSTILE[:900] + text + HOSTILE[900:2000], pid=1559)


def test_the_heaviest_stacks_are_kept_and_many_threads_share_a_name_without_its_digits():
    text = "".join(sample(f"worker-{number}", "1 w+0x1 (/bin/x)") for number in range(50))
    folded = fold(text + sample("main", "1 idle+0x1 (/bin/x)") * 3, pid=7)
    assert len(kept(folded, most=100, most_bytes=10**6)) == 51
    assert kept(folded, most=10, most_bytes=10**6) == [("worker-#;w", 50), ("main;idle", 3)]
    assert kept(folded, most=1, most_bytes=10**6) == [("worker-#;w", 50)]
    assert kept(folded, most=10, most_bytes=5) == []


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside this checkout")
def test_the_form_of_a_later_perf_is_read_too():
    text = (RECORDINGS / "perf-6.12.script.rust-v0.txt").read_text(encoding="utf-8")
    folded = fold(text, pid=5146)
    assert folded.samples == text.count("cpu-clock:")
    assert folded.unread == 0
