"""The command line: a thin face over the pipeline."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from synthlib import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 after an error, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    # here, so that --help and --version answer at once
    from synthlib import pipeline
    from synthlib.pipeline.execute import StageError

    try:
        pipeline.reproduce(
            pipeline.Choice(
                profile=chosen.profile,
                data=chosen.data,
                out=chosen.out,
                only=chosen.only or (),
                settings=chosen.set or (),
                force=chosen.force,
            )
        )
    except (ValueError, OSError, StageError) as error:
        print(f"synthlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # the notebook's own task ends after us; asyncio would print its traceback
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        print(
            "\nsynthlib: stopped. What is finished is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthlib", description=__doc__)
    parser.add_argument("--version", action="version", version=f"synthlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "reproduce",
        help="run the notebooks of a profile and gather all figures and tables",
        description="Run the notebooks of a profile in order through papermill. Stages whose "
        "parameters, inputs and code are unchanged are not repeated.",
    )
    run.add_argument("profile", nargs="?", default="params/demo", help="default: params/demo")
    run.add_argument("--data", help="folder of fastMRI HDF5 files instead of the profile's data")
    run.add_argument("--out", help="folder for results instead of the profile's out_dir")
    run.add_argument(
        "--only", action="append", metavar="NOTEBOOK", help="run only this one (05); repeatable"
    )
    run.add_argument(
        "--set",
        action="append",
        metavar="[NOTEBOOK.]PARAMETER=VALUE",
        help="change a parameter of one notebook (05_varnet_benchmark.epochs=3) or of all that "
        "have it (coil_counts=[16]); repeatable",
    )
    run.add_argument("--force", action="store_true", help="repeat finished stages, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
