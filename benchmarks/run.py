#!/usr/bin/env python3
"""
Runs the benchmarks and prints each figure beside a yardstick of the same run.

    python benchmarks/run.py [NAME ...] [--json] [--quick] [--check]

NAME is one of inference, loading, process, editing, webhook, metrics, collecting; all of them by default. soak,
kernels, index, a_a, load_generator, load_memory, lab_scaling and advice take minutes, and run when they are named.
`--quick` shows in seconds that they work; its figures mean little. With `--check` the exit code is 1 when a bar is
missed.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from outcome import Outcome, as_json, as_table

BENCHMARKS = ("inference", "loading", "process", "editing", "webhook", "metrics", "collecting")
BY_NAME = ("soak", "kernels", "index", "a_a", "load_generator", "load_memory", "lab_scaling", "advice")
"""What takes minutes, and runs when it is asked for."""


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0, or 1 when `--check` found a bar missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS + BY_NAME]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS + BY_NAME)}")
    outcomes: list[Outcome] = []
    for name in options.names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        outcomes += importlib.import_module(name).run(quick=options.quick)
    print(as_json(outcomes) if options.json else as_table(outcomes))
    return int(options.check and any(outcome.met is False for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which: {', '.join(BENCHMARKS)} (all by default), {', '.join(BY_NAME)}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="show that they work; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
