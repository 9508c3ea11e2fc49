"""The service's log: a line an event, whatever stands in it."""

import io
import json

from hypothesis import example, given
from hypothesis import strategies as st

from engram_diagnose.service.log import Log

TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)


def written(event: str, **fields: object) -> str:
    stream = io.StringIO()
    Log(stream, clock=lambda: 1_790_000_000.0).info(event, **fields)
    return stream.getvalue()


def test_a_line_is_json_with_its_time_in_front() -> None:
    line = written("alerts accepted", incidents=["a", "b"], new=2, share=0.5, nobody=None)
    assert line == (
        '{"time": "2026-09-21T14:13:20.000Z", "level": "info", "event": "alerts accepted", '
        '"incidents": ["a", "b"], "new": 2, "share": 0.5, "nobody": null}\n'
    )


@given(TEXTS)
@example("\ud800")
@example("\x7f\x1b[31m\u202e\u2028é")
def test_any_text_stays_on_its_line_in_printable_ascii_and_can_be_read_back(text: str) -> None:
    line = written("event", text=text, within={text: [text]})
    assert line.endswith("\n")
    assert all(" " <= letter <= "~" for letter in line[:-1])
    said = json.loads(line)
    if "…" not in text:  # which stands for what was cut
        assert said["text"] == text
        assert said["within"] == {text: [text]}
