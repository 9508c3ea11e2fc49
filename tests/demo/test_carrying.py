"""What the healthy lab carries is the most that was served."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.demo import carrying


def served(rate: float, most: float) -> dict[str, Any]:
    return {"operations": {"store": {"rate": min(rate, most)}}}


@given(st.floats(100, 200_000))
def test_it_is_what_the_server_can_do_at_most(most: float) -> None:
    found = carrying.carried(lambda rate: served(rate, most), first=1000)
    assert found == pytest.approx(min(most, 128_000))


def test_a_server_that_answers_nothing_still_gets_some_load() -> None:
    assert carrying.carried(lambda rate: served(rate, 0.0), first=1000) > 0


def test_it_depends_on_the_load_the_data_and_the_machine() -> None:
    def key(store: float = 0.3, memories: int = 1, cores: int = 4, model: str = "a") -> str:
        return carrying.key_of({"store": store}, memories=memories, cores=cores, model=model)

    assert len({key(), key(0.4), key(memories=2), key(cores=2), key(model="b")}) == 5


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "carried.json"
    carrying.keep(path, "a", 1234.56)
    carrying.keep(path, "b", 0.0037109755)
    assert carrying.kept(path, "a") == 1234.56
    assert carrying.kept(path, "b") == pytest.approx(0.0037109755, rel=1e-5)
    assert carrying.kept(path, "c") is None


@pytest.mark.parametrize("text", ['{"a": -1}', '{"a": true}', '{"a": "1"}', "[]", "", "\x00"])
def test_what_is_no_figure_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "carried.json").write_text(text)
    assert carrying.kept(tmp_path / "carried.json", "a") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    carrying.keep(tmp_path / "no" / "such" / "folder", "a", 1.0)
    assert not list(tmp_path.iterdir())
