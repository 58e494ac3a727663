"""What stays with the user: the secret of the pseudonyms, which file has which number, labels.

Nothing of it lies in the folder of the results, which may be given away.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from synthlib import runs
from synthlib.archive import Place

PARTS = ".synthlib"  # folder of what a run knows about its results
LEAST_SALT = 16  # bytes


def pseudonym_salt(out: str | Path, salt_file: str | Path | None = None) -> bytes:
    """The secret of a folder's pseudonyms; it never lies in the folder, which may be given away.

    Args:
        out: folder of the raw data.
        salt_file: a file of one's own; without it a secret is drawn at the first
            time and kept under ~/.local/state/synthlib.

    Raises:
        FileNotFoundError, ValueError: the salt file is not there, or too short.
        OSError: the secret cannot be kept.
    """
    if salt_file:
        path = Path(salt_file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"salt file {path} is not there; expected a file of at least {LEAST_SALT} random "
                "bytes, the same for all runs whose pseudonyms are to agree"
            )
        salt = path.read_bytes()
        if len(salt) < LEAST_SALT:
            raise ValueError(
                f"salt file {path} holds {len(salt)} bytes; expected at least {LEAST_SALT}"
            )
        return salt
    path = _state(out)
    if path.is_file():
        return path.read_bytes()
    salt = secrets.token_bytes(32)
    try:
        _write(path, salt)
    except OSError as error:
        raise OSError(
            "the secret of the pseudonyms cannot be kept: the user's state folder "
            "(XDG_STATE_HOME, or ~/.local/state) may not be written. Give a file of random bytes "
            "of your own with --salt-file"
        ) from error
    return salt


def require_pseudonyms(out: Path, salt: bytes) -> None:
    """One folder, one set of pseudonyms: else a patient could be on both sides of a split."""
    path = out / PARTS / "pseudonyms.json"
    mark = hmac.new(salt, b"synthlib pseudonyms", sha256).hexdigest()[:16]
    if not path.exists():
        runs.write_json(path, {"mark": mark})
    elif runs.read_json(path).get("mark") != mark:
        raise ValueError(
            f"{out} holds raw data whose patients have other pseudonyms: its secret salt is not "
            "here. Give the one of that run with --salt-file, or choose another --out."
        )


# --- which file is which ------------------------------------------------------------------


def index_path(out: str | Path) -> Path:
    """Where the files are listed by the numbers that messages and reports name them by."""
    return _state(out).with_suffix(".files.csv")


def write_index(out: str | Path, places: Iterable[Place]) -> Path | None:
    """List every file that was looked at: number of its input, its own number, its path.

    Args:
        out: folder of the results, which the list is filed by; it lies beside the secret.
        places: as archive.find counted them.

    Returns:
        The list, None where the user's state folder cannot be written.
    """
    rows = [(place.input, place.number or "", place.path) for place in places]
    path = index_path(out)
    try:
        _write(path, _table(("input", "file", "path"), rows))
    except OSError:  # messages still name the files by their numbers, and --show-names by paths
        return None
    return path


def labels_path(out: str | Path) -> Path:
    """Where the texts of labels are kept whose place a number took."""
    return _state(out).with_suffix(".labels.csv")


def keep_labels(out: str | Path, texts: Mapping[str, str]) -> Path:
    """Add labels and their own texts to the list of this folder's results.

    Args:
        out: folder of the results.
        texts: what stands in the results to what the annotations said.
    """
    path = labels_path(out)
    kept: dict[str, str] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            kept = {row["label"]: row["text"] for row in csv.DictReader(file)}
    _write(path, _table(("label", "text"), sorted({**kept, **texts}.items())))
    return path


def _state(out: str | Path) -> Path:
    """A file of the user's own, for one folder of results."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    name = sha256(str(Path(out).expanduser().resolve()).encode()).hexdigest()[:24]
    return state / "synthlib" / "salts" / name


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _write(path: Path, data: bytes) -> None:
    """For the user's eyes alone, from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with runs.atomic_path(path) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_bytes(data)
