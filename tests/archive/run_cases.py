"""The process that reads damaged inputs under a clock and a scale.

Run as `python run_cases.py REAL FOLDER FIRST LAST SEED`: it makes the cases FIRST to
LAST, each in a folder of its own below FOLDER, finds and reads them, and prints one
line of JSON for each. A case that takes more than its time ends the process.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mutator
import nibabel
import numpy as np
import pydicom

LIMIT_S = 10


def main(real: str, folder: str, first: int, last: int, seed: int) -> None:
    from synthlib import archive
    from synthlib.formats.refusals import MAX_VOXELS
    from tests.peak_memory import peak_mib

    for number, case in list(enumerate(mutator.cases(Path(real))))[first:last]:
        place = Path(folder) / str(number)
        place.mkdir()
        case.build(place, np.random.default_rng([seed, number]))
        before = snapshot(place)
        told: dict[str, object] = {"case": case.name, "number": number}
        print(json.dumps({"begin": case.name}), flush=True)
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        begin = time.monotonic()
        texts, volumes = [], 0
        try:
            found = archive.find([place], salt=b"x", spacing_mm=(1, 1), slice_mm=2)
            texts += [f"{aside.where}: {aside.reason}" for aside in found.set_aside]
            for series in found.series:
                try:
                    volume = archive.read(series)
                except (ValueError, OSError) as error:
                    texts.append(str(error))
                    assert str(error).startswith(series.where)
                    continue
                values = volume.magnitude
                assert values.ndim == 3 and 0 < values.numel() <= MAX_VOXELS
                assert bool(values.isfinite().all()) and values.min() >= 0 and values.max() > 0
                volumes += 1
                if case.same:
                    told["sum"] = float(values.double().sum())
                wrong = differs(series.files, series.kind, values.numpy())
                assert not wrong, wrong
        except BaseException as error:  # whatever it is: it is what the test looks for
            told["failure"] = f"{type(error).__name__}: {error}"
        faulthandler.cancel_dump_traceback_later()
        told |= {
            "seconds": time.monotonic() - begin,
            "texts": texts,
            "volumes": volumes,
            "untouched": snapshot(place) == before,
            "peak_mib": round(peak_mib()),
        }
        print(json.dumps(told), flush=True)
        for path in place.glob("bomb*"):
            path.unlink()


def differs(files: tuple[str, ...], kind: str, values: np.ndarray) -> str:
    """What an independent reader sees differently in a single file; "" where it cannot tell."""
    if len(files) != 1:
        return ""
    try:
        if kind == "dicom":
            image = pydicom.dcmread(files[0], force=True)
            if image.get("NumberOfFrames", 1) != 1 or "PixelPaddingValue" in image:
                return ""
            if image.PhotometricInterpretation != "MONOCHROME2":
                return ""
            expected = image.pixel_array.astype(np.float64) * float(
                image.get("RescaleSlope", 1) or 1
            )
            expected = expected + float(image.get("RescaleIntercept", 0) or 0)
        elif kind == "nifti":
            expected = np.asarray(nibabel.load(files[0]).dataobj, np.float64)
            if not np.isfinite(expected).all() or expected.min() < 0:
                expected = np.nan_to_num(expected, nan=0, posinf=0, neginf=0).clip(min=0)
        else:
            return ""
    except Exception:
        return ""
    if expected.size != values.size:
        return ""
    close = np.allclose(np.sort(expected.ravel()), np.sort(values.ravel()), rtol=1e-5, atol=1e-5)
    return "" if close else "pixels differ from those of an independent reader"


def snapshot(place: Path) -> list[tuple[str, int, int]]:
    found = []
    for folder, _, names in os.walk(place):
        for name in names:
            state = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            found.append((name, state.st_size, state.st_mtime_ns))
    return sorted(found)


def outcomes(lines: str) -> Iterator[dict]:
    for line in lines.splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
