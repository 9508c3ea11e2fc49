"""A configuration is edited in the lines of the changed keys, and nowhere else."""

import time

import pytest

from engram_diagnose.patch.edit import Assignment, ConfigurationError, edited

BATCH = Assignment("wal.sync_mode", "batch")


def change(text: str, *assignments: Assignment) -> str:
    return edited(text.encode(), assignments or (BATCH,), name="engram.toml").decode()


def set_to(key: str, value: bool | int | float | str | tuple[int, ...]) -> Assignment:
    return Assignment(key, value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            '[wal]  # log\n  sync_mode   =  "immediate"   # for now\n  other = 1\n',
            '[wal]  # log\n  sync_mode   =  "batch"   # for now\n  other = 1\n',
            id="blanks and comments stay",
        ),
        pytest.param("[wal]\nsync_mode='x'\n", "[wal]\nsync_mode='batch'\n", id="literal quotes stay"),
        pytest.param('wal.sync_mode = "x"\n', 'wal.sync_mode = "batch"\n', id="dotted at the top"),
        pytest.param("wal . 'sync_mode'=\"x\"", "wal . 'sync_mode'=\"batch\"", id="no line end, quoted key"),
        pytest.param('wal = { sync_mode = "x", a = 1 }\n', 'wal = { sync_mode = "batch", a = 1 }\n', id="inline table"),
        pytest.param("wal = { a = 1 }\n", 'wal = { a = 1, sync_mode = "batch" }\n', id="added to an inline table"),
        pytest.param("wal = {}\n", 'wal = {sync_mode = "batch"}\n', id="added to an empty inline table"),
        pytest.param(
            "wal.a=1\nwal.b='t'\n", "wal.a=1\nwal.b='t'\nwal.sync_mode='batch'\n", id="added beside dotted keys"
        ),
        pytest.param(
            "[wal]\r\na = 1\r\n\r\n[x]\r\n", '[wal]\r\na = 1\r\nsync_mode = "batch"\r\n\r\n[x]\r\n', id="CRLF"
        ),
        pytest.param(
            "[wal]\n\ta = 1", '[wal]\n\ta = 1\n\tsync_mode = "batch"', id="added after a last line without end"
        ),
        pytest.param("[wal]", '[wal]\nsync_mode = "batch"', id="added to a header without a line end"),
        pytest.param("", '[wal]\nsync_mode = "batch"\n', id="empty file"),
        pytest.param("# only this\n", '# only this\n\n[wal]\nsync_mode = "batch"\n', id="comments only"),
        pytest.param("a = 1\n\n", 'a = 1\n\n[wal]\nsync_mode = "batch"\n', id="blank line there already"),
        pytest.param(
            "a = 1\r\nb = 2", 'a = 1\r\nb = 2\r\n\r\n[wal]\r\nsync_mode = "batch"', id="new table, CRLF, no end"
        ),
        pytest.param("[wal.b]\na = 1\n", '[wal.b]\na = 1\n\n[wal]\nsync_mode = "batch"\n', id="only a sub-table there"),
        pytest.param("\ufeff[wal]\nsync_mode = 'x'\n", "\ufeff[wal]\nsync_mode = 'batch'\n", id="byte order mark"),
        pytest.param(
            't = """\n[wal]\nsync_mode = "x"\n"""\n[[arr]]\nsync_mode = "y"\n[other]\nsync_mode = "z"\n',
            't = """\n[wal]\nsync_mode = "x"\n"""\n[[arr]]\nsync_mode = "y"\n[other]\nsync_mode = "z"\n'
            '\n[wal]\nsync_mode = "batch"\n',
            id="what looks like it is left alone",
        ),
        pytest.param(
            "[a]\nx = [\n  '[wal]', # ]\n  \"sync_mode = 1\",\n]\n[wal]\nsync_mode = 'x'\n[b]\n",
            "[a]\nx = [\n  '[wal]', # ]\n  \"sync_mode = 1\",\n]\n[wal]\nsync_mode = 'batch'\n[b]\n",
            id="arrays over lines",
        ),
        pytest.param(
            "[wal.s]\nq = 1\n[x]\n[wal]\nsync_mode = 'x'\n[wal.r]\nsync_mode = 'no'\n",
            "[wal.s]\nq = 1\n[x]\n[wal]\nsync_mode = 'batch'\n[wal.r]\nsync_mode = 'no'\n",
            id="tables out of order",
        ),
        pytest.param("[wal]\nsync_mode = '''x'''\n", "[wal]\nsync_mode = '''batch'''\n", id="multi-line quotes"),
        pytest.param('["wal"]\n"sync\\u005fmode" = 1\n', '["wal"]\n"sync\\u005fmode" = "batch"\n', id="escaped key"),
        pytest.param("[wal]\n# sync_mode = 1\n", '[wal]\nsync_mode = "batch"\n# sync_mode = 1\n', id="commented out"),
    ],
)
def test_a_key_changes_and_nothing_else(before: str, after: str) -> None:
    assert change(before) == after
    assert change(after) == after


def test_keys_below_inline_tables_and_dotted_keys_are_found() -> None:
    hot = set_to("activation.visit_budget_per_tier.hot", 5)
    for before, after in {
        "[activation]\nvisit_budget_per_tier = { hot = 3, warm = 2 } # b\n": "{ hot = 5, warm = 2 } # b",
        "[activation]\nvisit_budget_per_tier = { warm = 2 }\n": "{ warm = 2, hot = 5 }",
        "[activation]\nvisit_budget_per_tier.hot = 3\n": "visit_budget_per_tier.hot = 5",
        "[activation]\nvisit_budget_per_tier.warm = 3\n": "visit_budget_per_tier.hot = 5",
        "[activation.visit_budget_per_tier]\nhot = 3\n": "hot = 5",
        "activation = { visit_budget_per_tier.hot = 3 }\n": "activation = { visit_budget_per_tier.hot = 5 }",
        "activation = { }\n": "activation = { visit_budget_per_tier = {hot = 5} }",
        "[activation]\na = 1\n": "\n[activation.visit_budget_per_tier]\nhot = 5",
        "activation.a = 1\n": "activation.visit_budget_per_tier.hot = 5",
    }.items():
        assert after in change(before, hot)


def test_several_keys_of_one_table_stand_together() -> None:
    new = [set_to("wal.a", 1), set_to("numa.b", True), set_to("wal.c", 0.5), set_to("numa.d", "e")]
    assert change("x = 1\n", *new) == 'x = 1\n\n[wal]\na = 1\nc = 0.5\n\n[numa]\nb = true\nd = "e"\n'
    assert change("wal = {a = 2, c = 3}\n[numa]\n", *new) == 'wal = {a = 1, c = 0.5}\n[numa]\nb = true\nd = "e"\n'


def test_a_key_without_a_table_goes_before_the_first_table() -> None:
    top = set_to("level", 1)
    assert change("# licence\n\n# tables\n[a]\n", top) == "# licence\n\nlevel = 1\n\n# tables\n[a]\n"
    assert change("[a]\n", top) == "level = 1\n\n[a]\n"
    assert change("x = 2\n[a]\n", top) == "x = 2\nlevel = 1\n[a]\n"


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        ("5", 6.0, "6"),
        ("5.0", 6.0, "6.0"),
        ("5.0", 5, "5.0"),
        ("5", 5.0, "5"),
        ("5", 5.5, "5.5"),
        ("0x40", 64, "0x40"),
        ("1_000", 20_000, "20_000"),
        ("'a'", "it's", '"it\'s"'),
        ('"a"', 'q"\\', '"q\\"\\\\"'),
        ("true", False, "false"),
        ("1", True, "true"),
        ("[1, 2]", (1, 3), "[1, 3]"),
        ("[ 1,2 ]", (1, 2), "[ 1,2 ]"),
        ("[1, 2]", (7, 8, 9), "[7, 8, 9]"),
        ("[1, 2]", (), "[]"),
        ("[\n  1, # one\n  2, # two\n]", (5, 2), "[\n  5, # one\n  2, # two\n]"),
        ("[\r\n  1, # one\r\n]", (1, 2), "[\r\n  1, # one\r\n  2,\r\n]"),
        ("nan", 1.5, "1.5"),
    ],
)
def test_a_value_is_written_as_its_like(
    old: str, new: bool | int | float | str | tuple[int, ...], written: str
) -> None:
    assert change(f"k.v = {old} # c\nn = nan\n", set_to("k.v", new)) == f"k.v = {written} # c\nn = nan\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\n[wal\n", "engram.toml:2:5: error: Expected ']' at the end of a table declaration"),
        (b"wal = 3\n", "engram.toml:1:1: error: wal is a value, not a table: wal.sync_mode cannot be set"),
        (b"a = 1\n  [[wal]]\n", "engram.toml:2:3: error: wal is an array of tables"),
        (b"wal = [{a = 1}]\n", "engram.toml:1:1: error: wal is an array of tables"),
        (b"[wal.sync_mode]\n", "engram.toml:1:1: error: wal.sync_mode is a table"),
        (b"[wal]\nsync_mode.a = 1\n", "engram.toml:2:1: error: wal.sync_mode is a table"),
        (b"[wal]\na = 1\nb = 2\n  a = 3\n", "engram.toml:4:3: error: wal.a stands here again; first on line 2"),
        (b"[wal]\n[a]\n[wal]\n", "engram.toml:3:1: error: wal stands here again; first on line 1"),
        (b"wal = {a = 1, a = 2}\n", "engram.toml:1:1: error: wal: Duplicate inline table key 'a'"),
        (b"# \xe9\n", "engram.toml:1:3: error: not UTF-8: byte 0xe9"),
        (b'a = 1\nx = "\n', "engram.toml:2:6: error: Illegal character"),
        (b"a = 'x\nb = 1\n", "engram.toml:1:5: error: the text that begins here has no end"),
        (b"a = '''x\nb = 1\n", "engram.toml:1:5: error: the text that begins here has no end"),
        (b'a = """x\nb = 1\n', "engram.toml:1:5: error: the text that begins here has no end"),
        (b'a = "x', "engram.toml:1:7: error: Unterminated string"),
        (b"a = [1,\n2\n", "engram.toml:2:2: error: Unclosed array"),
        (b"a = " + b"[" * 5000, "engram.toml: not TOML that can be read"),
        (b"a = " + b"1" * 5000, "engram.toml: not TOML that can be read"),
        (b"a" + b".a" * 200 + b" = 1", "engram.toml:1:1: error: a key of more than 100 parts"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_its_place(content: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        edited(content, [BATCH], name="engram.toml")
    assert message in str(refused.value)


def test_a_fault_is_shown_with_its_line_and_a_caret() -> None:
    with pytest.raises(ConfigurationError) as refused:
        edited("a = 1\r\n# \u2028 x\r\n[wal]\r\nä = 1\r\n".encode(), [BATCH], name="engram.toml")
    assert str(refused.value).splitlines()[1:] == [
        "    4 | ä = 1",
        "      | ^",
        "  hint: repair the file: nothing was changed",
    ]


@pytest.mark.parametrize(
    "assignments",
    [
        [set_to("wal sync", 1)],
        [set_to("wal..x", 1)],
        [set_to("wal.x", 1), set_to("wal.x", 2)],
        [set_to("wal", 1), set_to("wal.x", 2)],
        [set_to("wal.x", 2**63)],
        [set_to("wal.x", float("nan"))],
        [set_to("wal.x", "\udc80")],
    ],
)
def test_assignments_that_cannot_be_met_are_refused(assignments: list[Assignment]) -> None:
    with pytest.raises(ConfigurationError):
        edited(b"", assignments, name="engram.toml")


@pytest.mark.slow
def test_ten_megabytes_take_seconds() -> None:
    table = '[t{0}]\nkey_a = {0}\nkey_b = "text number {0}"  # comment\nlist = [1, 2, 3]\n'
    content = "".join(table.format(number) for number in range(130_000)).encode() + b"[wal]\nsync_mode = 'x'\n"
    assert len(content) > 10_000_000
    start = time.process_time()
    after = edited(content, [BATCH, set_to("t7.new", 1)], name="engram.toml")
    assert time.process_time() - start < 60
    assert after.endswith(b"[wal]\nsync_mode = 'batch'\n")
    assert len(after) == len(content) + len("batch") - len("x") + len("new = 1\n")


def test_a_long_text_in_the_file_costs_little() -> None:
    content = b'a = """\n' + b'[wal]\nsync_mode = "x" \\" ""\n' * 300_000 + b'"""\n'
    assert edited(content, [BATCH], name="engram.toml") == content + b'\n[wal]\nsync_mode = "batch"\n'
