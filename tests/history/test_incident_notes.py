"""An incident has as many notes as its page can show, and no more."""

import pytest
from made_alerts import GROUPING, T0, alert, told

from engram_diagnose.history.incidents import MOST_NOTES, IncidentStore, StoreError, TooManyNotesError


def test_a_note_beyond_the_most_is_refused_with_what_to_do_and_no_other_incident_minds(store: IncidentStore) -> None:
    first, second = (
        store.accept(told(alert(instance=f"db{number}")), T0, GROUPING).incidents[0] for number in range(2)
    )
    for number in range(MOST_NOTES):
        assert store.add_note(first, "ada", f"{number}", T0 + number) is not None
    with pytest.raises(TooManyNotesError, match=f"{MOST_NOTES} notes, which is the most; write on where") as raised:
        store.add_note(first, "ada", "one more", T0)
    assert isinstance(raised.value, StoreError)
    assert raised.value.by_entry, "the database is not at fault"
    assert [note.text for note in store.notes(first)] == [str(number) for number in range(MOST_NOTES)]
    assert store.add_note(second, "ada", "here is room", T0) is not None
    assert store.add_note("no such", "ada", "x", T0) is None
