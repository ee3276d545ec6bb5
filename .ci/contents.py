"""Compares what an sdist and a wheel hold with what they should: python contents.py SOURCE SDIST WHEEL."""

import ast
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

EXTENSIONS = (
    "fastprep/_sink",
    "fastprep/h5/_decode",
    "fastprep/h5/_heap",
    "fastprep/h5/_read",
    "fastprep/kernels/_cpu",
    "fastprep/kernels/_cpu_standard",
    "fastprep/kernels/_cpu_warp",
    "fastprep/kernels/_masks",
    "fastprep/kernels/_tables",
    "fastprep/pipeline/_buffers",
    "fastprep/sampling/_hashes",
)
OPTIONAL = ("fastprep/encoded/_libjpeg",)  # not in a wheel that was built without libjpeg-turbo's headers
FOR_BOTH = (".py", ".pyi", ".typed", ".cu", ".cuh")
FOR_COMPILING = (".pyx", ".pxd", ".c", ".h")
FOR_READING = ("/README.md",)
SDIST_ALONE = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "SECURITY.md", "pyproject.toml", "setup.py")
MADE_FOR_SDISTS = ("PKG-INFO", "setup.cfg", "fastprep.egg-info/")


def files(source: Path, folder: str, suffixes: tuple[str, ...] = ("",)) -> set[str]:
    """Name the files in a folder, behind links, too."""
    found = set()
    for path in (source / folder).iterdir():
        name = f"{folder}/{path.name}"
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            found |= files(source, name, suffixes)
        elif name.endswith(suffixes):
            found.add(name)
    return found


def differences(what: str, held: set[str], wanted: set[str]) -> list[str]:
    """Say what is missing, and what is too much."""
    return [f"{what} lacks {name}" for name in sorted(wanted - held)] + [
        f"{what} has {name}, which is not for it" for name in sorted(held - wanted)
    ]


def sdist_problems(source: Path, path: Path) -> list[str]:
    """Compare an sdist: all modules, what compiling needs, the notes and the tests; not what Cython makes."""
    with tarfile.open(path) as sdist:
        links = [f"the sdist has a link, {member.name}" for member in sdist if not (member.isfile() or member.isdir())]
        held = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    held = {name for name in held if not name.startswith(MADE_FOR_SDISTS)}
    package = files(source, "fastprep", FOR_BOTH + FOR_COMPILING + FOR_READING) - {f"{name}.c" for name in EXTENSIONS + OPTIONAL}
    beside = files(source, "tests") | files(source, "docs/notes") | set(SDIST_ALONE)
    return links + differences("the sdist", held, package | beside)


def wheel_problems(source: Path, path: Path) -> list[str]:
    """Compare a wheel: all modules and what they need at run time, compiled code, and the licence."""
    name, version, python, abi, platform = path.stem.split("-")
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path) as wheel:
        held = {name for name in wheel.namelist() if not name.endswith("/")}
        metadata = Parser().parsestr(wheel.read(f"{about}/METADATA").decode())
    compiled = {name for name in held if name.endswith(".so")}
    made = {
        f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    }
    problems = differences("the wheel", held - compiled, files(source, "fastprep", FOR_BOTH) | made)
    problems += differences("the wheel", {name.partition(".")[0] for name in compiled} - set(OPTIONAL), set(EXTENSIONS))
    if not python == abi == f"cp{sys.version_info.major}{sys.version_info.minor}" or "linux" not in platform:
        problems.append(f"the wheel is for {python}-{abi}-{platform}")
    tree = ast.parse((source / "fastprep/_version.py").read_text())
    stated = next(node.value.value for node in tree.body if isinstance(node, ast.Assign))
    if not version == metadata["Version"] == stated:
        problems.append(f"the wheel is of version {version}, its metadata says {metadata['Version']}, _version.py {stated}")
    if metadata["License-Expression"] != "MIT" or not metadata["Requires-Python"]:
        problems.append("the metadata lack the licence or requires-python")
    return problems


if __name__ == "__main__":
    source, sdist, wheel = map(Path, sys.argv[1:])
    found = sdist_problems(source, sdist) + wheel_problems(source, wheel)
    sys.exit("\n".join(found) if found else None)
