"""The command line: a thin face over the pipeline, the map store and the conversion."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthlib import __version__

if TYPE_CHECKING:
    from synthlib import coils, mapstore

# Rooms are imported where a command needs them, so that --help and --version answer at once.

NAMED = 20  # flagged slices, and warnings, that are shown; more are counted
EXIT_STATUS = (
    "Exit status: 0, all that is of the asked kind was made or looked at (maps, localizers, texts "
    "and frames that are no magnitudes are left out, and listed); 1, nothing was, a file is "
    "damaged or refused, --strict found something, or another error; 2, the command line cannot "
    "be understood; 130, stopped by Ctrl-C."
)
# Options of synthesize that are of coils, and the settings that they are.
OF_COILS = {
    "maps": "maps", "coils": "n_coils", "noise": "noise", "oversampling": "oversampling",
    "pairing": "pairing",
}  # fmt: skip
ESPIRIT = ("calib_width", "kernel_width", "threshold", "crop", "gauge", "outside", "n_sets", "grid")


class _Misused(Exception):
    """A value of the command line that cannot be: exit status 2, as argparse has it."""


@contextmanager
def _understanding() -> Iterator[None]:
    """Around what judges the values of the command line alone."""
    try:
        yield
    except ValueError as error:
        raise _Misused(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; EXIT_STATUS says what its exit status means."""
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except _Misused as error:
        print(f"synthlib: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"synthlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # what was under way ends after us; asyncio would print its traceback
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        print(
            "\nsynthlib: stopped. What is finished is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthlib", description=__doc__, epilog=EXIT_STATUS)
    parser.add_argument("--version", action="version", version=f"synthlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_reproduce(commands)
    _add_gallery(commands)
    _add_maps(commands)
    _add_synthesize(commands)
    _add_audit(commands)
    _add_bank(commands)
    _add_convert_raw(commands)
    _add_view(commands)
    for command in commands.choices.values():
        command.epilog = EXIT_STATUS
    return parser


# --- reproduce -----------------------------------------------------------------------


def _add_reproduce(commands: Any) -> None:
    run = commands.add_parser(
        "reproduce",
        help="run the notebooks of a profile and gather all figures and tables",
        description="Run the notebooks of a profile in order through papermill. Stages whose "
        "parameters, inputs and code are unchanged are not repeated.",
    )
    run.set_defaults(run=_reproduce)
    _add_profile(run)
    run.add_argument(
        "--only", action="append", metavar="NOTEBOOK", help="run only this one (05); repeatable"
    )
    run.add_argument("--force", action="store_true", help="repeat finished stages, too")


def _add_profile(command: argparse.ArgumentParser) -> None:
    """What a command needs to know to run notebooks with a profile's parameters."""
    command.add_argument("profile", nargs="?", default="params/demo", help="default: params/demo")
    command.add_argument("--data", help="folder of raw data instead of the profile's")
    command.add_argument("--out", help="folder for results instead of the profile's out_dir")
    command.add_argument(
        "--set",
        action="append",
        metavar="[NOTEBOOK.]PARAMETER=VALUE",
        help="change a parameter of one notebook (05_varnet_benchmark.epochs=3) or of all that "
        "have it (coil_counts=[16]); repeatable",
    )


def _reproduce(chosen: argparse.Namespace) -> int:
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
    except StageError as error:
        print(f"synthlib: {error}", file=sys.stderr)
        return 1
    return 0


# --- gallery -------------------------------------------------------------------------


def _add_gallery(commands: Any) -> None:
    gallery = commands.add_parser(
        "gallery",
        help="show notebook 03's gallery in the browser, without JupyterLab",
        description="Serve the gallery of notebook 03 on this machine alone, through Voilà, until "
        "Ctrl-C. A profile whose generator is trained needs its results: run reproduce first.",
    )
    gallery.set_defaults(run=_gallery)
    _add_profile(gallery)
    gallery.add_argument("--port", type=_count, metavar="N", help="default: a free one")
    gallery.add_argument("--no-browser", action="store_true", help="print the address, no more")
    gallery.add_argument("--theme", choices=("light", "dark"), default="light", help="or dark")


def _gallery(chosen: argparse.Namespace) -> int:
    from synthlib import pipeline
    from synthlib.pipeline import serve

    serve.serve(
        pipeline.Choice(
            profile=chosen.profile,
            data=chosen.data,
            out=chosen.out,
            settings=chosen.set or (),
        ),
        port=chosen.port,
        browser=not chosen.no_browser,
        theme=chosen.theme,
    )
    return 0


# --- maps ----------------------------------------------------------------------------


def _add_maps(commands: Any) -> None:
    maps = commands.add_parser(
        "maps",
        help="estimate the coil maps of every raw file of a folder and judge them",
        description="ESPIRiT maps of every raw file below a folder (fastMRI, MRD, BART, .npy, "
        "Siemens .dat), one map file each, with the quality of every slice in quality.csv. Files "
        "that have current maps are not repeated; a file that cannot be used is told at the end "
        "and stops no other. Parameters that are left out keep their defaults, which are printed "
        "at the start.",
    )
    maps.set_defaults(run=_maps)
    maps.add_argument("folder", help="raw files, searched with its subfolders; or one file")
    maps.add_argument("--out", required=True, help="folder for the map files")
    group = maps.add_argument_group("parameters of the maps")
    group.add_argument("--calib-width", type=int, help="edge of the calibration region (samples)")
    group.add_argument("--kernel-width", type=int, help="edge of the k-space kernels (samples)")
    group.add_argument(
        "--threshold", type=_number_or_auto, help="singular values below it are noise, or auto"
    )
    group.add_argument(
        "--crop", type=_number_or_auto, help="eigenvalues below it are no object, or auto"
    )
    group.add_argument("--gauge", help="phase of the maps: virtual, bart or coil0")
    group.add_argument("--outside", help="beyond the object: extrapolate, estimate or zero")
    group.add_argument("--n-sets", type=int, help="sets of maps, two for a folded object")
    group.add_argument("--grid", type=int, help="points per axis that are solved; 0: every pixel")
    group = maps.add_argument_group("which files, and where the work is done")
    group.add_argument(
        "--contrast", action="append", metavar="LABEL", help="only this one (AXT2); repeatable"
    )
    group.add_argument("--coils", type=_count, metavar="N", help="only files of this many coils")
    group.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes; default: 1"
    )
    group.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster (tcp://host:8786)"
    )
    group.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def _number_or_auto(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _maps(chosen: argparse.Namespace) -> int:
    from synthlib import coils, mapstore, runs, tables

    given = {name: getattr(chosen, name) for name in ESPIRIT if getattr(chosen, name) is not None}
    with _understanding():
        settings = coils.EspiritSettings(**given)
        settings.check()
    runs.require_folder(chosen.out)
    # from where the user stands, not from the project's root
    folder, out = (Path(path).expanduser().absolute() for path in (chosen.folder, chosen.out))
    print(f"coil maps of {folder}, kept in {out}")
    print("settings: " + ", ".join(f"{name} {getattr(settings, name)}" for name in ESPIRIT))
    store = mapstore.build_folder(
        folder,
        out,
        contrasts=chosen.contrast or (),
        n_coils=chosen.coils,
        settings=settings,
        workers=chosen.workers,
        scheduler=chosen.scheduler,
        device=chosen.device,
    )
    rows = mapstore.quality_rows(store)
    print("\n".join(_summary(store, rows, settings)))
    _print_passed_by(folder)
    if rows:
        table = [{name: _digits(value) for name, value in row.items()} for row in rows]
        runs.write_text(out / "quality.csv", tables.from_dicts(table)["csv"])
        print(f"quality of every slice: {out / 'quality.csv'}")
    return 1 if store.broken else 0


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return number


def _length(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; expected millimetres, a number above 0")
    return number


def _summary(
    store: mapstore.Store, rows: Sequence[Mapping[str, Any]], settings: coils.EspiritSettings
) -> Iterator[str]:
    n_files, n_made, n_broken = len(store.files), len(store.made), len(store.broken)
    yield (
        f"volumes: {n_files + n_broken}, of which {n_made} estimated, {n_files - n_made} already "
        f"there, {n_broken} that cannot be used"
    )
    if store.left_out:
        yield f"not asked for: {store.left_out}"
    for name in ("threshold", "crop"):
        used = [row[name] for row in rows]
        if used and getattr(settings, name) == "auto":
            least, most = f"{min(used):.3f}", f"{max(used):.3f}"
            yield f"{name} chosen: {least}" + (f" to {most}" if most != least else "")
    shapes = sorted({file.calib_shape for file in store.files})
    if shapes:
        yield "calibrated by " + " to ".join(f"{y}x{x}" for y, x in shapes[:: len(shapes) - 1 or 1])
    flagged = [row for row in rows if row["flags"]]
    if rows:
        yield f"slices: {len(rows)}, of which {len(flagged)} flagged" + (":" if flagged else "")
    yield from _some(f"{file.name}: {text}" for file in store.files for text in file.warnings)
    if store.broken:
        yield "cannot be used:"
    yield from (f"  {text}" for text in store.broken.values())


def _some(lines: Iterable[str]) -> Iterator[str]:
    """The first of them, and how many more there are."""
    lines = list(lines)
    yield from (f"  {line}" for line in lines[:NAMED])
    if len(lines) > NAMED:
        yield f"  and {len(lines) - NAMED} more"


def _print_passed_by(folder: str | Path) -> None:
    """Which .npy and .dat files of a folder of raw data are something else."""
    from synthlib import formats

    names = [str(path.relative_to(folder)) for path in formats.passed_by(folder)]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"passed by, as no raw data: {', '.join(names[:3])}{more}")


def _digits(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


# --- synthesize ----------------------------------------------------------------------


def _add_synthesize(commands: Any) -> None:
    made = commands.add_parser(
        "synthesize",
        help="turn magnitude images (DICOM, NIfTI, ...) into multi-coil raw data",
        description="Raw data, one file for each series: phase is that of the archive where it was "
        "measured, else a generator writes it, a bank of measured or simulated coils receives, "
        "noise is added that the magnitude lost. Images are audited first; what cannot be used is "
        "set aside with the reason, in report.html. The same command goes on where it was stopped. "
        "No name of a patient or file gets out.",
    )
    made.set_defaults(run=_synthesize)
    _add_inputs(made)
    made.add_argument("--out", required=True, help="folder for the raw data and the report")
    made.add_argument(
        "--generator",
        default="flow-head-v1",  # phase.shipped.DEFAULT, which is slow to import
        metavar="WEIGHTS|SOURCE",
        help="what writes phase: flow-head-v1 (default), which comes with synthlib, weights of "
        "notebook 02 (.safetensors), or polynomial, sinusoidal, random, zero",
    )
    made.add_argument(
        "--phase",
        default="auto",
        metavar="auto|measured|written",
        help="auto (default): as measured where the archive has it, else written; measured: set "
        "aside what has none; written: never the archive's",
    )
    made.add_argument(
        "--maps", type=_bank_name, metavar="BANK", help="coil bank; default: simulated"
    )
    made.add_argument("--coils", type=_count, metavar="N", help="default: 16")
    made.add_argument(
        "--format",
        default="fastmri",
        help="fastmri (default), mrd or cfl; nifti (magnitude and phase) or "
        "nifti-complex: images without coils",
    )
    made.add_argument(
        "--noise",
        type=_number_or_word,
        metavar="match|SNR|none",
        help="match (default): the result has the SNR of the image",
    )
    group = made.add_argument_group("more")
    group.add_argument("--seed", type=int, default=2023, help="of every draw; default: 2023")
    group.add_argument(
        "--oversampling", type=_count, metavar="N", help="of the readout; default: 1"
    )
    group.add_argument("--pairing", help="of heads and donors: matched (default) or random")
    group.add_argument("--strict", action="store_true", help="set aside what the audit finds")
    group.add_argument(
        "--repair", action="store_true", help="crop interpolated images to their true matrix"
    )
    group.add_argument("--force", action="store_true", help="replace raw data that are there")
    group.add_argument(
        "--contrast", action="append", metavar="LABEL", help="only this one (AXT2); repeatable"
    )
    group.add_argument(
        "--annotations", metavar="CSV", help="boxes by file and slice, carried along (fastMRI+)"
    )
    group.add_argument(
        "--salt-file", metavar="FILE", help="secret of the pseudonyms, shared between runs"
    )
    group.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes; default: 1"
    )
    group.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster (tcp://host:8786)"
    )


def _add_inputs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files and folders of magnitude images"
    )
    command.add_argument(
        "--spacing",
        nargs=2,
        type=_length,
        metavar=("Y", "X"),
        help="pixel size (mm) of PNG and NPY stacks, which do not tell theirs",
    )
    command.add_argument(
        "--show-names", action="store_true", help="messages name files by their paths"
    )


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _synthesize(chosen: argparse.Namespace) -> int:
    from synthlib import conversion, runs

    of_coils = {
        name: getattr(chosen, option)
        for option, name in OF_COILS.items()
        if getattr(chosen, option) is not None
    }
    with _understanding():
        settings = conversion.Settings(
            generator=_weights(chosen.generator),
            format=chosen.format,
            strict=chosen.strict,
            repair=chosen.repair,
            phase=chosen.phase,
            contrasts=tuple(chosen.contrast or ()),
            seed=chosen.seed,
            **of_coils,
        )
        if of_coils and settings.format in conversion.IMAGES:
            asked = ", ".join(f"--{o}" for o in OF_COILS if getattr(chosen, o) is not None)
            raise ValueError(
                f"{asked} with --format {settings.format}, whose images have neither coils nor "
                "their noise; leave it out, or choose fastmri, mrd or cfl"
            )
    runs.require_folder(chosen.out)
    result = conversion.synthesize(
        chosen.inputs,
        chosen.out,
        settings,
        force=chosen.force,
        workers=chosen.workers,
        scheduler=chosen.scheduler,
        spacing_mm=tuple(chosen.spacing) if chosen.spacing else None,
        annotations=chosen.annotations,
        salt_file=chosen.salt_file,
        show_names=chosen.show_names,
    )
    print("\n".join(conversion.summary(result)))
    aside = [(o.where, o.reason) for o in result.outcomes if o.status == conversion.ASIDE]
    aside += [(other.where, other.reason) for other in result.set_aside]
    named = [(result.paths.get(where, where), reason) for where, reason in aside]
    for line in _some(f"{where}: {reason}" for where, reason in named):
        print(line, file=sys.stderr)
    print(f"report: {result.report}")
    if result.index and not chosen.show_names:
        print(f"which number is which file: {result.index} (for your eyes alone)")
    if result.labels:
        print(f"labels that became numbers: {result.labels} (for your eyes alone)")
    return 0 if result.whole else 1


def _weights(generator: str) -> str:
    """A file of weights by its path from where the user stands."""
    if generator.endswith(".safetensors"):
        return str(Path(generator).expanduser().absolute())
    return generator


def _bank_name(maps: str) -> str:
    """A folder by its path from where the user stands."""
    return maps if maps == "simulated" else str(Path(maps).expanduser().absolute())


# --- audit ---------------------------------------------------------------------------


def _add_audit(commands: Any) -> None:
    audit = commands.add_parser(
        "audit",
        help="find out how magnitude images were processed, which could make results too good",
        description="Zero-filling, filters, partial Fourier, lossy compression, masking, intensity "
        "correction, resampling: each with its measure, threshold and advice, and pictures. "
        "Source: Shimron et al., PNAS 2022.",
    )
    audit.set_defaults(run=_audit)
    _add_inputs(audit)
    audit.add_argument("--out", help="folder for a picture of every series with findings")
    audit.add_argument("--strict", action="store_true", help="exit status 1 when anything is found")


def _audit(chosen: argparse.Namespace) -> int:
    from synthlib import conversion, runs

    if chosen.out:
        runs.require_folder(chosen.out)
    worst = conversion.look(
        chosen.inputs,
        out=chosen.out,
        spacing_mm=tuple(chosen.spacing) if chosen.spacing else None,
        show_names=chosen.show_names,
        say=print,
    )
    if worst.index and not chosen.show_names:
        print(f"which number is which file: {worst.index} (for your eyes alone)")
    failed = worst.broken or worst.refused or (chosen.strict and worst.found)
    return 1 if failed or not worst.n_series else 0


# --- bank ----------------------------------------------------------------------------


def _add_bank(commands: Any) -> None:
    bank = commands.add_parser(
        "bank",
        help="make a coil bank of measured raw data, for `synthesize --maps`",
        description="Coil maps of every multi-coil raw file below a folder (fastMRI, MRD, BART, "
        ".npy, Siemens .dat) in head coordinates, continued beyond the head, with the receivers' "
        "noise covariance and the maps' quality. What is there and current is not made again.",
    )
    bank.set_defaults(run=_bank)
    bank.add_argument("folder", help="raw files, searched with its subfolders; or one file")
    bank.add_argument("--out", required=True, help="folder of the bank")
    bank.add_argument("--orientation", default="", help="axial, ...; default: from the label")
    bank.add_argument("--anatomy", default="", help="head, knee, ...; default: from the file")
    bank.add_argument(
        "--slice-step", type=float, default=float("nan"), metavar="MM",
        help="between slice centres; default: the slice thickness",
    )  # fmt: skip
    bank.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes; default: 1"
    )
    bank.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster (tcp://host:8786)"
    )


def _bank(chosen: argparse.Namespace) -> int:
    from synthlib import bank, runs

    with _understanding():
        place = bank.Place(chosen.orientation, chosen.anatomy, chosen.slice_step)
    runs.require_folder(chosen.out)
    found = bank.build_folder(
        Path(chosen.folder).expanduser().absolute(),
        Path(chosen.out).expanduser().absolute(),
        place=place,
        workers=chosen.workers,
        scheduler=chosen.scheduler,
    )
    print(f"donors: {len(found.donors)}, of which {found.made} made now")
    for donor in found.donors:
        levels = "1 slice" if donor.n_slices == 1 else f"{donor.n_slices} slices"
        print(
            f"  {donor.name}: {donor.n_coils} coils, {levels}, {donor.contrast}, {donor.anatomy}, "
            f"{donor.orientation}, residual {donor.quality['residual']:.3f}"
        )
    _print_passed_by(Path(chosen.folder).expanduser().absolute())
    for line in _some(found.broken):
        print(line, file=sys.stderr)
    return 1 if found.broken or not found.donors else 0


# --- convert-raw ---------------------------------------------------------------------


def _add_convert_raw(commands: Any) -> None:
    convert = commands.add_parser(
        "convert-raw",
        help="write raw data of any format as fastMRI HDF5, MRD or BART files",
        description="K-space of fastMRI HDF5, ISMRMRD (MRD), BART (.cfl), .npy or Siemens .dat "
        "files, one volume a file, as it is: sorted, averages averaged, not reconstructed. What a "
        "file says of itself is kept, what it does not say stays unknown. The same command goes "
        "on where it was stopped.",
    )
    convert.set_defaults(run=_convert_raw)
    convert.add_argument("input", help="a file, or a folder, searched with its subfolders")
    convert.add_argument("--out", required=True, help="folder for the new files")
    convert.add_argument("--format", required=True, help="fastmri, mrd or cfl")
    convert.add_argument(
        "--single-coil",
        action="store_true",
        help="one coil that stands for all, as fastMRI emulates it: a complex fit to the real root "
        "sum of squares, in which parts of a head can be dark; --format fastmri only",
    )
    convert.add_argument("--force", action="store_true", help="replace files that are there")
    convert.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes; default: 1"
    )
    convert.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster (tcp://host:8786)"
    )


def _convert_raw(chosen: argparse.Namespace) -> int:
    from synthlib import conversion, runs

    with _understanding():
        conversion.require_raw_format(chosen.format, chosen.single_coil)
    runs.require_folder(chosen.out)
    entries = conversion.convert_raw(
        Path(chosen.input).expanduser().absolute(),
        Path(chosen.out).expanduser().absolute(),
        format=chosen.format,
        single_coil=chosen.single_coil,
        force=chosen.force,
        workers=chosen.workers,
        scheduler=chosen.scheduler,
    )
    counts = {"written": 0, "present": 0, "failed": 0}
    for entry in entries:
        counts[entry.status] += 1
    print(
        f"volumes: {len(entries)}, of which {counts['written']} written, {counts['present']} "
        f"already there, {counts['failed']} failed"
    )
    _print_passed_by(Path(chosen.input).expanduser().absolute())
    notes = (f"{entry.name}: {note}" for entry in entries for note in entry.notes)
    for line in _some(notes):
        print(line)
    for line in _some(f"{entry.name}: {entry.reason}" for entry in entries if entry.reason):
        print(line, file=sys.stderr)
    return 1 if counts["failed"] or not entries else 0


# --- view ----------------------------------------------------------------------------


def _add_view(commands: Any) -> None:
    view = commands.add_parser(
        "view",
        help="look at raw data of any format in the browser",
        description="Coil images, their phase and spectrum, of fastMRI HDF5, ISMRMRD (MRD), BART "
        "(.cfl), .npy or Siemens .dat files, as a page that needs no network. The files are only "
        "read. The page holds images and the files' names: it is as private as they are.",
    )
    view.set_defaults(run=_view)
    view.add_argument("input", help="a file, or a folder, searched with its subfolders")
    view.add_argument(
        "--html", metavar="PAGE", help="write the page here and open no browser; default: a page "
        "in a temporary folder, opened"
    )  # fmt: skip
    view.add_argument(
        "--slices", type=_count, default=8, metavar="N", help="at most so many of a scan; default 8"
    )
    view.add_argument(
        "--max-mb", type=_count, default=50, metavar="MB",
        help="largest page; beyond it pixels get 8 bits, then slices and scans are left out; "
        "default 50",
    )  # fmt: skip


def _view(chosen: argparse.Namespace) -> int:
    import tempfile
    import warnings
    import webbrowser

    from synthlib import runs, widgets
    from synthlib.widgets.raw_viewer import BrokenFile

    source = Path(chosen.input).expanduser().absolute()
    if chosen.html:
        page = Path(chosen.html).expanduser().absolute()
        if page.is_dir():
            raise IsADirectoryError(f"{page} is a folder; expected the name of a page (--html)")
        runs.require_folder(page.parent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        viewer = widgets.raw_viewer(source, n_slices=chosen.slices)
        if not chosen.html:
            page = Path(tempfile.mkdtemp(prefix="synthlib-view-")) / "view.html"
        viewer.to_html(page, max_mb=chosen.max_mb)
    for line in _some(str(warning.message) for warning in caught):
        print(line, file=sys.stderr)
    print(f"wrote {page}")
    _print_passed_by(source)
    if not chosen.html and not webbrowser.open(page.as_uri()):
        print("no browser was found; open the page by hand")
    return 1 if any(issubclass(one.category, BrokenFile) for one in caught) else 0


if __name__ == "__main__":
    raise SystemExit(main())
