"""`engram-diagnose lab`: a small memory server in the guide's dialect, with faults to plant."""

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Its settings, the guide's TOML. Without it DIR/engram.toml, which is written when it is missing.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where its data are kept.  [default: lab/ in the state folder]",
)
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: as configured, else 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Where to listen; 0 takes a free port.  [default: as configured, else 7432]",
)
@click.option(
    "--preload",
    type=click.IntRange(0, 60_000),
    default=0,
    metavar="N",
    help="Memories to begin with, where there are none yet; stored once and copied from then on.",
)
def command(config: Path | None, data_dir: Path | None, host: str | None, port: int | None, preload: int) -> None:
    """
    Run a lab: a memory server that does what its settings say, to plant faults in. It is no product.

    It speaks the guide's dialect: its API, its metrics, its configuration file. Ctrl-C stops it cleanly.
    """
    from engram_diagnose.state import state_folder

    named = {"data-dir": data_dir or state_folder() / "lab", "config": config, "host": host, "port": port,
             "preload": preload or None}  # fmt: skip
    options = [f"--{name}={value}" for name, value in named.items() if value is not None]
    # A process of its own: the lab needs numba, and none of what this command line has loaded.
    os.execv(sys.executable, [sys.executable, "-m", "engram_diagnose.lab", *options])  # noqa: S606 -- our own module
