"""Seeds, paths, atomic writes, and the record that every result carries."""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from IPython.display import Image, Markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDED_PACKAGES = (
    "synthlib",
    "torch",
    "lightning-fabric",
    "fastmri",
    "sigpy",
    "numpy",
    "scipy",
    "h5py",
    "matplotlib",
    "nilearn",
    "scikit-image",
    "papermill",
)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def project_root() -> Path:
    """The checkout that synthlib runs from; the current folder if it is installed elsewhere."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def resolve(path: str | Path) -> Path:
    """A path from a params file: absolute as it is, relative from the project root."""
    return project_root() / Path(path).expanduser()


def require_folder(folder: str | Path) -> None:
    """Refuse, before any work, a place where no folder of results can be.

    Raises:
        NotADirectoryError, PermissionError: what was found, what is expected, what to do.
    """
    place = Path(folder).expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(
            f"{place} is a file; expected a folder for results, which is made where there is "
            "none. Choose another place (--out)"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{place} may not be written; expected a folder of yours for results. Choose another "
            "place (--out), or change its permissions"
        )


def cache_folder() -> Path:
    """What can be made again, of this user: $XDG_CACHE_HOME/synthlib, or ~/.cache/synthlib.

    Raises:
        OSError: it cannot be made; the message names no path, which may hold a name.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "synthlib"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            "the user's cache folder (XDG_CACHE_HOME, or ~/.cache) cannot be written; expected "
            "room for what is made once and kept. Set XDG_CACHE_HOME to another folder"
        ) from error
    return folder


# --- seeds ---------------------------------------------------------------------------


def seed_for(seed: int, *names: object) -> int:
    """A seed for one named purpose, so that draws never depend on the order of work."""
    digest = hashlib.sha256(json.dumps([seed, *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def rng(seed: int, *names: object) -> torch.Generator:
    """A CPU random generator of its own for one named purpose."""
    return torch.Generator().manual_seed(seed_for(seed, *names))


@contextmanager
def seeded(seed: int, *names: object, devices: Sequence[torch.device | int] = ()) -> Iterator[None]:
    """Run code that draws from torch's global state (dropout, init), then put the state back."""
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed_for(seed, *names))
        yield


# --- files ---------------------------------------------------------------------------


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A scratch path to write to; it becomes `path` in one step when the block ends well.

    A block that fails leaves neither a scratch file nor a change at `path`. A
    scratch file that a killed process left behind is removed by the next writer.

    Raises:
        OSError: no space is left; the message says what to do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, path.name)
    # Threads may write one file at the same time: a line of progress, say.
    scratch = path.parent / f".part-{os.getpid()}-{threading.get_ident()}-{path.name}"
    try:
        yield scratch
        scratch.replace(path)
    except OSError as error:
        if error.errno in DISK_FULL or "No space left" in str(error):
            raise OSError(
                error.errno or errno.ENOSPC,
                f"the disk is full: writing {path.name} failed and nothing half-written was kept. "
                "Free some space (or choose another out_dir) and start again; "
                "finished parts are not repeated",
            ) from error
        raise
    finally:
        scratch.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove scratch files that killed processes left behind in a folder."""
    for stale in folder.glob(f".part-*-{name}"):
        pid = stale.name.split("-")[1]
        if pid.isdecimal() and not _is_alive(int(pid)):
            stale.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    with atomic_path(path) as scratch:
        scratch.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_weights(
    path: str | Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors as safetensors: the same tensors and metadata are the same bytes.

    The package writes the entries of its metadata in another order in every process,
    so that the hash of a file with two of them is not that of its content.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    data = safetensors.torch.save(plain, dict(metadata))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of 8 bytes
    write_bytes(path, len(text).to_bytes(8, "little") + text + data[end:])


def write_checkpoint(path: str | Path, state: Mapping[str, object]) -> None:
    """Keep the state of a training: tensors, numbers, and lists and dicts of them."""
    packed = io.BytesIO()
    torch.save(dict(state), packed)
    write_bytes(path, packed.getvalue())


def read_checkpoint(path: str | Path) -> dict[str, Any] | None:
    """What :func:`write_checkpoint` kept, on the CPU; None if there is no such file.

    Raises:
        ValueError: the file is damaged, or holds more than tensors and numbers.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path.name} in {path.parent.name} cannot be read ({error}). Delete it to train from "
            "the beginning."
        ) from error


def sha256(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: object) -> str:
    """16 hex digits that change when anything in `parts` does."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def code_fingerprint(*rooms: str) -> str:
    """Hash of what some rooms do ("coils", "phase.pix2pix"), of all of synthlib when none is named.

    Results that are kept between runs carry it, so that those of older code are
    made again. Comments, docstrings and layout do not count in Python; scripts
    and styles for the browser count as they are.
    """
    package = Path(__file__).parent
    names = {
        ".".join(file.relative_to(package).parts).removesuffix(".py"): file
        for file in package.rglob("*")
        if file.suffix in (".py", ".js", ".css")
    }
    chosen = [
        (name, _meaning(file))
        for name, file in sorted(names.items())
        if not rooms or any(name == room or name.startswith(f"{room}.") for room in rooms)
    ]
    for room in rooms:
        if not any(name == room or name.startswith(f"{room}.") for name in names):
            raise ValueError(f"synthlib has no room {room!r} whose code could be hashed")
    return fingerprint(*chosen)


def _meaning(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0].value = ast.Constant("")
    return ast.dump(tree)


# --- records -------------------------------------------------------------------------


@lru_cache(maxsize=1)
def git_commit() -> str:
    """The checkout's commit, with "+changes" when files differ from it; "unknown" without git."""
    try:
        commit = _git("rev-parse", "HEAD")
        # The notebooks are left out: executing them in place is not a change of code.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!notebooks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(project_root()), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@lru_cache(maxsize=1)
def package_versions(names: Sequence[str] = RECORDED_PACKAGES) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def make_record(
    parameters: Mapping[str, object], inputs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a result was made from: parameters with seeds, input hashes, versions, commit."""
    return {
        "parameters": dict(parameters),
        "inputs": dict(inputs or {}),
        "packages": package_versions(),
        "git_commit": git_commit(),
    }


@dataclass
class Run:
    """One notebook's run: where its figures, tables and pages go, and the record they carry."""

    name: str
    out_dir: Path
    parameters: dict[str, object]
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return int(str(self.parameters["seed"]))

    @property
    def record(self) -> dict[str, Any]:
        return {"run": self.name, **make_record(self.parameters, self.inputs)}

    def add_inputs(self, hashes: Mapping[str, str]) -> None:
        """Name the input files (name to sha256) that the results from here on rest on."""
        self.inputs.update(hashes)

    def save_figure(self, figure: Figure, name: str) -> Image:
        """Write figures/<name>.png and .pdf, each with the record inside, and <name>.json.

        Returns:
            The PNG, for a notebook to show.
        """
        text = json.dumps(self.record, sort_keys=True, default=str)
        # matplotlib would otherwise write the time of day into both files
        metadata: dict[str, dict[str, Any]] = {
            "png": {"Description": text, "Software": "synthlib"},
            "pdf": {"Keywords": text, "Creator": "synthlib", "CreationDate": None},
        }
        for kind, entries in metadata.items():
            with atomic_path(self.out_dir / "figures" / f"{name}.{kind}") as scratch:
                figure.savefig(scratch, format=kind, dpi=150, bbox_inches="tight", metadata=entries)
        write_json(self.out_dir / "figures" / f"{name}.json", self.record)
        path = self.out_dir / "figures" / f"{name}.png"
        return Image(data=path.read_bytes(), width=int(min(950, 100 * figure.get_figwidth())))

    def save_table(self, table: Mapping[str, str], name: str) -> Markdown:
        """Write tables/<name>.csv, .md, .tex (as made by tables) and <name>.json, the record.

        Returns:
            The table, for a notebook to show.
        """
        note = f"record: {name}.json, commit {self.record['git_commit']}"
        comments = {"csv": "", "md": f"<!-- {note} -->\n", "tex": f"% {note}\n"}
        for kind, text in table.items():
            write_text(self.out_dir / "tables" / f"{name}.{kind}", comments[kind] + text)
        write_json(self.out_dir / "tables" / f"{name}.json", self.record)
        return Markdown(table["md"])

    def save_page(self, html: str, name: str) -> Markdown:
        """Write pages/<name>.html, as it is, and <name>.json, the record.

        Returns:
            Where the page lies in out_dir and how large it is, for a notebook to show.
        """
        path = self.out_dir / "pages" / f"{name}.html"
        write_text(path, html)
        write_json(path.with_suffix(".json"), self.record)
        size = path.stat().st_size / 1e6
        return Markdown(
            f"`pages/{name}.html` ({size:.1f} MB) opens in a browser, without a kernel."
        )


def start(name: str, out_dir: str | Path, *, seed: int, **parameters: object) -> Run:
    """Begin a notebook's run.

    Args:
        name: the notebook, for example "03_phase_gallery".
        out_dir: where results go, relative to the project root.
        seed: every draw of the run follows from it.
        parameters: the notebook's other parameters, for the record.
    """
    folder = resolve(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return Run(name, folder, {"seed": seed, **parameters})
