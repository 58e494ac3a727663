"""pyproject.toml, constraints.txt, requirements-fastmri.txt and environment.yml name one world."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from synthlib import runs

ROOT = runs.project_root()
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.]*)")


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins(entries: list[str]) -> dict[str, str]:
    """Name to version; every entry is name==version and nothing else."""
    bad = [entry for entry in entries if not PIN.fullmatch(entry)]
    assert not bad, f"expected name==version, without URLs or local versions: {bad}"
    found = [PIN.fullmatch(entry).groups() for entry in entries]
    versions = {canonicalize_name(name): version for name, version in found}
    assert len(versions) == len(entries), "a name stands there twice"
    return versions


@pytest.fixture
def constraints() -> dict[str, str]:
    return pins(lines("constraints.txt"))


@pytest.fixture
def direct() -> set[str]:
    """What the project itself asks for, its tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {canonicalize_name(Requirement(line).name) for line in wanted}


def test_every_direct_dependency_is_pinned(direct, constraints):
    assert direct - constraints.keys() == set()


def test_conda_users_get_the_same_packages(direct, constraints):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "synthlib"
    assert environment["channels"] == ["conda-forge"]
    *conda, by_pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert list(by_pip) == ["pip"]
    versions = pins(by_pip["pip"])
    assert direct - versions.keys() == set()
    assert versions == {name: constraints.get(name) for name in versions}


def test_fastmri_comes_without_its_dependencies(direct, constraints):
    wanted = pins(lines("requirements-fastmri.txt"))
    assert wanted == {"fastmri": constraints["fastmri"]}
    assert "fastmri" not in direct


def test_torchvision_stays_out(direct, constraints):
    assert not {"torchvision", "pytorch-lightning", "torchmetrics"} & (direct | constraints.keys())


def test_what_is_installed_is_what_the_constraints_say(direct, constraints):
    from importlib.metadata import version

    for name in sorted(direct | {"fastmri"}):
        assert version(name).split("+")[0] == constraints[name], name  # torch adds +cpu or +cu126
