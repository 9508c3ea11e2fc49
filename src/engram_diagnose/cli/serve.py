"""`engram-diagnose serve`: take Alertmanager's webhook, diagnose, keep and show what was found."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engram_diagnose.cli.options import named_option, rules_option, say, together
from engram_diagnose.cli.output import CLEAN, USAGE

if TYPE_CHECKING:
    from engram_diagnose.service.settings import Settings


settings_options = together(
    click.option(
        "--settings",
        "path",
        envvar="ENGRAM_DIAGNOSE_SERVE_SETTINGS",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The service's settings, TOML; the options below go before it.",
    ),
    named_option("--listen", metavar="HOST:PORT", help="Where to listen (127.0.0.1:7433)."),
    named_option("--public-url", metavar="URL", help="The service's address as people reach it, for links."),
    named_option("--prometheus", metavar="URL", help="Prometheus (or Thanos, Mimir, VictoriaMetrics) to ask."),
    named_option(
        "--alertmanager", multiple=True, metavar="URL", help="Alertmanager; may be repeated for its replicas."
    ),
    named_option("--database", type=click.Path(path_type=Path), metavar="FILE", help="The database."),
    rules_option,
)


@click.group(invoke_without_command=True)
@settings_options
@click.pass_context
def command(ctx: click.Context, /, **values: Any) -> None:
    """Take Alertmanager's webhook, diagnose at the alert's time, keep what was found and show it."""
    ctx.obj = values
    if ctx.invoked_subcommand is None:
        _serve(values)


def _serve(values: dict[str, Any]) -> None:
    from engram_diagnose.service.server import serve

    gc.enable()  # this command stays
    settings = _checked(values)
    serve(settings, reread=lambda: _checked(values))


@command.command()
@settings_options
@click.pass_obj
def check(before: dict[str, Any], /, **given: Any) -> None:
    """Say what is wrong with the settings, the secrets and the rules; exit 0 usable, 2 not."""
    values = _laid_over(before, given)
    from engram_diagnose.rulebase import load_rules
    from engram_diagnose.service.cautions import cautions
    from engram_diagnose.service.checking import problems_of

    settings = _read(values)
    problems = problems_of(settings)
    for text in problems:
        say(f"engram-diagnose: {text}")
    loaded = load_rules(settings.rules)
    for text in cautions(settings, values["path"]):
        say(f"note: {text}")
    if not problems:
        click.echo(f"the settings can be used, with {len(loaded.rules.rules)} rules")
    sys.exit(USAGE if problems else CLEAN)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@settings_options
@click.pass_obj
def backup(before: dict[str, Any], /, file: Path, **given: Any) -> None:
    """Copy the database to FILE while the service runs."""
    values = _laid_over(before, given)
    from engram_diagnose.history.incidents import open_incidents
    from engram_diagnose.service.reading import read_database

    # Nothing else of the settings: a secret's file that is gone is no reason to go without a backup.
    with open_incidents(read_database(values["path"], values["database"]), read_only=True) as store:
        store.backup(file)
    say(f"the database was copied to {file}")


@command.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def files(folder: Path) -> None:
    """Write the files to deploy it with into DIR: units, manifests, alert rules, a dashboard. None is overwritten."""
    from engram_diagnose.service.deployment import write_files

    for path, written in write_files(folder):
        say(f"{'written' if written else 'there already'}: {path}")


@command.command("hash")
def hash_() -> None:
    """Ask for a password, and print what may stand for it in auth.basic_auth_file."""
    from engram_diagnose.service.passwords import hashed

    click.echo(hashed(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)))


def _laid_over(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options wherever they stand: `serve --settings FILE check` and `serve check --settings FILE` are one."""
    return {**before, **{name: value for name, value in given.items() if value}}


def _read(values: dict[str, Any]) -> "Settings":
    from engram_diagnose.service.reading import read_settings

    keys = {"listen": "listen", "public_url": "public_url", "prometheus": "prometheus.url",
            "alertmanager": "alertmanager.urls", "database": "database", "packs": "rules"}  # fmt: skip
    return read_settings(values["path"], {dotted: values[name] for name, dotted in keys.items() if values[name]})


def _checked(values: dict[str, Any]) -> "Settings":
    """The settings, with what they name looked at; raises `SettingsError`."""
    from engram_diagnose.service.checking import problems_of
    from engram_diagnose.service.reading import SettingsError

    settings = _read(values)
    if problems := problems_of(settings):
        raise SettingsError(problems)
    return settings
