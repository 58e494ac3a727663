"""Weights that come with the package, and any other, by name or by path."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from synthlib import runs
from synthlib.phase import flow, generator

FOLDER = Path(__file__).parent / "weights"
DEFAULT = "flow-head-v1"
SHA256 = {DEFAULT: "df21db4fe18b217883a26a6d91a76294a608134248401e1b7219e6fc55b5d6ea"}
SUFFIX = ".safetensors"

Writer = flow.PhaseFlow | generator.PhaseGenerator


def load(name: str | Path) -> Writer:
    """Weights that come with synthlib by name, or those of a file.

    Args:
        name: a name of SHA256, for example "flow-head-v1", or a path that ends in .safetensors.

    Returns:
        a flow or a generator: called with a magnitude (y, x) and a seed it gives its phase.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown name, a file that is damaged, or one of other weights.
    """
    if str(name) in SHA256:
        return _verified(str(name))
    if not str(name).endswith(SUFFIX):
        raise ValueError(
            f"weights {str(name)!r} are unknown; expected {', '.join(SHA256)}, or a file "
            f"({SUFFIX}) that notebook 02_gan_training or phase.flow.save wrote"
        )
    path = Path(name)
    metadata, _ = generator.read_weights(
        path,
        "weights (.safetensors) of a generator or a flow. Train one with notebook "
        f"02_gan_training, name the file of an earlier training, or take {DEFAULT}",
    )
    return flow.load(path) if "flow" in metadata else generator.load(path)


def path_of(name: str) -> Path:
    """The file of weights that come with synthlib."""
    return FOLDER / f"{name}{SUFFIX}"


@lru_cache(maxsize=2)
def _verified(name: str) -> flow.PhaseFlow:
    path = path_of(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} is not there; expected it beside the code of synthlib.phase, where it is "
            "installed. Install synthlib again."
        )
    found = runs.sha256(path)
    if found != SHA256[name]:
        raise ValueError(
            f"{path.name} has the hash {found[:12]}, expected {SHA256[name][:12]}: it is damaged "
            "or of another version. Install synthlib again."
        )
    return flow.load(path)
