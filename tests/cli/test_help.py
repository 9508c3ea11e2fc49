"""Every command says how it is called, at -h as at --help."""

from collections.abc import Iterator

import click
import pytest

from engram_diagnose.cli import group, main


def named(command: click.Command, *above: str) -> Iterator[tuple[str, ...]]:
    """What is to be written for a command, and for those below it."""
    yield above
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from named(found, *above, name)


@pytest.mark.parametrize("words", list(named(group)), ids=" ".join)
def test_both_ways_of_asking_for_help_say_the_same(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for option in ("-h", "--help"):
        with pytest.raises(SystemExit) as left:
            main([*words, option])
        assert left.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].startswith(" ".join(["Usage: engram-diagnose", *words]) + " ")
    assert "-h, --help" in said[0]
