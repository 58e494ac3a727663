"""PNG and NPY: every number as it was written, and what is no grey stack refused."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from synthlib.formats import stacks
from synthlib.formats.refusals import Refusal

SPACING = (0.5, 0.7)


def values(kind: type = np.uint16) -> np.ndarray:
    return np.arange(1, 1 + 3 * 7 * 5).reshape(3, 7, 5).astype(kind)


def write(folder, pictures, mode: str | None = None) -> list:
    paths = []
    for number, picture in enumerate(pictures):
        image = PIL.Image.fromarray(picture)
        paths.append(folder / f"{number}.png")
        (image.convert(mode) if mode else image).save(paths[-1])
    return paths


@pytest.mark.parametrize(("kind", "factor", "bits"), [(np.uint8, 2, 8), (np.uint16, 600, 16)])
def test_grey_pictures_become_slices_of_their_own_numbers(tmp_path, kind, factor, bits):
    expected = (values().astype(int) * factor).astype(kind)
    volume = stacks.read_pngs(write(tmp_path, expected), SPACING, 4.0)
    np.testing.assert_array_equal(volume.magnitude, expected.astype(np.float32))
    assert volume.facts == {"format": "stack", "bits_stored": bits}
    assert (volume.spacing_mm, volume.step_mm) == (SPACING, 4.0)


def test_colours_are_taken_where_they_are_grey(tmp_path):
    grey = values(np.uint8)
    for mode in ("RGB", "RGBA", "LA", "P"):
        volume = stacks.read_pngs(write(tmp_path, grey, mode), SPACING, None)
        np.testing.assert_array_equal(volume.magnitude, grey.astype(np.float32))
    coloured = np.stack([grey, grey, grey], -1)
    coloured[1, 3, 2, 0] += 1
    with pytest.raises(Refusal, match="coloured"):
        stacks.read_pngs(write(tmp_path, coloured), SPACING, None)


def test_mixed_sizes_and_depths_are_refused(tmp_path):
    with pytest.raises(Refusal, match="2 sizes"):
        stacks.read_pngs(
            write(tmp_path, [values(np.uint8)[0], values(np.uint8)[0, 1:]]), SPACING, None
        )
    with pytest.raises(Refusal, match="8 and of 16 bits"):
        stacks.read_pngs(write(tmp_path, [values(np.uint8)[0], values()[0]]), SPACING, None)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float64, ">f4", bool])
def test_arrays_come_back_whatever_their_type_and_order(tmp_path, kind):
    expected = (values() % 3).astype(kind)
    for name, array in (("c", expected), ("f", np.asfortranarray(expected)), ("flat", expected[1])):
        np.save(tmp_path / f"{name}.npy", array)
        volume = stacks.read_npy(tmp_path / f"{name}.npy", SPACING, None)
        np.testing.assert_array_equal(volume.magnitude, array.astype(np.float32).reshape(-1, 7, 5))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.save(tmp_path / "trap.npy", np.array([[Trap()]], object), allow_pickle=True)
    with pytest.raises(Refusal, match="other things than real numbers"):
        stacks.read_npy(tmp_path / "trap.npy", SPACING, None)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (values().astype(np.complex64), "other things"),
        (np.ones((2, 3, 4, 5)), "4 axes"),
        (np.ones(3), "1 axes"),
        (np.zeros((2, 3)), "only zeros"),
        (np.full((2, 3), 7), "one value everywhere"),
        (np.full((2, 3), np.nan), "6 NaN or Inf of 6"),
        (-np.ones((2, 3)), "negative"),
        (np.ones((0, 3)), "0 x 3"),
    ],
)
def test_what_is_no_magnitude_is_refused(tmp_path, array, reason):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(Refusal, match=reason):
        stacks.read_npy(tmp_path / "x.npy", SPACING, None)


def test_a_written_picture_comes_back(tmp_path):
    grey = torch.from_numpy(values(np.uint8)[1])
    stacks.write_png(tmp_path / "a.png", grey)
    volume = stacks.read_pngs([tmp_path / "a.png"], SPACING, None)
    torch.testing.assert_close(volume.magnitude[0], grey.float(), rtol=0, atol=0)
