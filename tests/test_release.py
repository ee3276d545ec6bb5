"""The release script: what it refuses, what it prints, and that it tags and uploads what was asked for and nothing else."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / ".ci"
if not SCRIPTS.is_dir():
    pytest.skip("this copy of the tests has no scripts of CI beside it", allow_module_level=True)

VERSION = "3.2.1"
WHEEL = f"fastprep-{VERSION}-cp313-cp313-manylinux_2_17_x86_64.whl"
FILES = {
    ".gitignore": "dist/\n__pycache__/\n",
    "CHANGELOG.md": f"# Changelog\n\n## [{VERSION}] - 2030-02-01\n- New.\n\n## [1.0.0] - 2029-01-01\n",
    "CITATION.cff": f"cff-version: 1.2.0\nversion: {VERSION}\ndate-released: 2030-02-01\n",
    "fastprep/_version.py": f'__version__ = "{VERSION}"\n',
    # in place of the builds, which take a minute: an sdist that says what was committed, and a wheel
    ".ci/wheels": f"""#!/usr/bin/env bash
cp "$(dirname "$0")/../CHANGELOG.md" "$1/fastprep-{VERSION}.tar.gz"
echo wheel > "$1/{WHEEL}"
""",
    "twine": '#!/usr/bin/env bash\necho "$@" >> "$TWINE_LOG"\n[[ $1 != "${TWINE_FAILS:-}" ]]\n',
}
NAMES = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | {
    f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
}


def git(folder, *words):
    """Run git, which reads no settings of the machine."""
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("GIT_")}, **NAMES}
    return subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    folder = tmp_path_factory.mktemp("original")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if text.startswith("#!") else 0o644)
    for script in ("release", "versions.py"):
        shutil.copy(SCRIPTS / script, folder / ".ci" / script)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "The release")
    return folder


class Clone:
    """A clone of the small repository, and what the release script says there."""

    def __init__(self, original, folder):
        git(folder.parent, "clone", "-q", str(original), str(folder))
        self.folder, self.log = folder, folder.parent / "twine.log"

    def write(self, name, old, new, commit=True):
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        if commit:
            git(self.folder, "commit", "-q", "-a", "-m", "Another thing")

    def release(self, *options, answer="", **environment):
        given = {
            "PYTHON": sys.executable,
            "TWINE": str(self.folder / "twine"),
            "TWINE_LOG": str(self.log),
            **NAMES,
            **environment,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = [str(self.folder / ".ci" / "release"), *options]
        return subprocess.run(
            command, cwd=self.folder.parent, env={**kept, **given}, input=answer, capture_output=True, text=True
        )

    def refused(self, *options, **more):
        """Return the lines of a refusal, after which nothing is tagged or uploaded."""
        tags = git(self.folder, "tag", "--list")
        done = self.release(*options, **more)
        assert done.returncode == 1
        assert git(self.folder, "tag", "--list") == tags
        assert not self.log.exists() or "upload" not in self.log.read_text()
        lines = done.stderr.splitlines()
        assert all(line.startswith("no release: ") for line in lines)
        return [line.removeprefix("no release: ") for line in lines]


@pytest.fixture
def clone(original, tmp_path):
    return Clone(original, tmp_path / "clone")


def test_a_dry_run_prints_what_would_be_tagged_and_uploaded_and_does_neither(clone):
    done = clone.release()
    assert done.returncode == 0, done.stderr
    commit = git(clone.folder, "rev-parse", "HEAD")
    assert f"to tag: v{VERSION}, commit {commit} (The release)" in done.stdout
    for name in (f"fastprep-{VERSION}.tar.gz", WHEEL):
        data = (clone.folder / "dist" / VERSION / name).read_bytes()
        line = f"to upload: dist/{VERSION}/{name}, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
        assert line in done.stdout.splitlines()
    assert "nothing was tagged or uploaded; .ci/release --publish" in done.stdout
    assert git(clone.folder, "tag", "--list") == ""
    assert [line.split()[:2] for line in clone.log.read_text().splitlines()] == [["check", "--strict"]]


def test_publishing_asks_and_then_tags_the_commit_and_uploads_the_files_that_were_printed(clone):
    assert clone.refused("--publish", answer="yes\n") == [f"the answer was not {VERSION}; nothing was tagged or uploaded"]
    assert clone.refused("--publish") == [f"the answer was not {VERSION}; nothing was tagged or uploaded"]
    done = clone.release("--publish", answer=f"{VERSION}\n")
    assert done.returncode == 0, done.stderr
    assert git(clone.folder, "cat-file", "-t", f"v{VERSION}") == "tag"
    assert git(clone.folder, "rev-parse", f"v{VERSION}^{{commit}}") == git(clone.folder, "rev-parse", "HEAD")
    printed = [line.split()[2].rstrip(",") for line in done.stdout.splitlines() if line.startswith("to upload: ")]
    assert len(printed) == 2
    assert clone.log.read_text().splitlines()[-1] == f"upload {' '.join(printed)}"
    assert f"git push origin v{VERSION}" in done.stdout
    assert git(clone.folder, "ls-remote", "--tags", "origin") == ""  # pushing is left to who releases


def test_a_failed_upload_leaves_the_tag_and_says_how_to_go_on(clone):
    done = clone.release("--publish", answer=f"{VERSION}\n", TWINE_FAILS="upload")
    assert done.returncode == 1
    assert git(clone.folder, "tag", "--list") == f"v{VERSION}"
    assert f"twine upload --skip-existing dist/{VERSION}/*" in done.stderr


def test_metadata_that_twine_refuses_are_neither_tagged_nor_uploaded(clone):
    assert clone.refused("--publish", answer=f"{VERSION}\n", TWINE_FAILS="check") == []


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("fastprep/_version.py", VERSION, "3.2.2", "_version.py says 3.2.2, the top heading of CHANGELOG.md 3.2.1"),
        ("CHANGELOG.md", f"[{VERSION}]", "[3.3.0]", "_version.py says 3.2.1, the top heading of CHANGELOG.md 3.3.0"),
        ("CITATION.cff", f"version: {VERSION}", "version: 3.1.0", "_version.py says 3.2.1, CITATION.cff 3.1.0"),
        (
            "CHANGELOG.md",
            "2030-02-01",
            "unreleased",
            "the top heading of CHANGELOG.md has the date 'unreleased'; a release has one",
        ),
        (
            "CITATION.cff",
            "2030-02-01",
            "2030-02-02",
            "CHANGELOG.md has the date 2030-02-01, date-released of CITATION.cff is 2030-02-02",
        ),
        ("CITATION.cff", "date-released: 2030-02-01", "", "has the date 2030-02-01, date-released of CITATION.cff is missing"),
    ],
)
def test_places_that_disagree_about_the_version_are_named(clone, name, old, new, line):
    clone.write(name, old, new)
    assert line in "\n".join(clone.refused("--publish", answer=f"{VERSION}\n"))


def test_a_version_that_a_tag_could_not_be_named_by(clone):
    for name in ("fastprep/_version.py", "CHANGELOG.md", "CITATION.cff"):
        clone.write(name, VERSION, "3.2")
    assert clone.refused() == ["_version.py says 3.2, which is not a version such as 1.2.3 or 1.2.3rc1"]


def test_a_tree_that_is_not_clean_and_another_branch_are_both_named(clone):
    (clone.folder / "left over.txt").write_text("")
    assert clone.refused() == ['the tree is not clean, with "left over.txt" for one: commit it, or put it away']
    clone.write("CHANGELOG.md", "New", "Newer", commit=False)
    git(clone.folder, "switch", "-q", "-c", "branch")
    assert clone.refused() == [
        "HEAD is on branch, and releases are made of main: git switch main",
        "the tree is not clean, with CHANGELOG.md for one: commit it, or put it away",
    ]
    git(clone.folder, "stash", "-q", "--include-untracked")
    git(clone.folder, "switch", "-q", "--detach", "main")
    assert clone.refused() == ["HEAD is on no branch, and releases are made of main: git switch main"]


def test_a_tag_that_exists_here_or_at_origin_is_not_moved(clone, original, tmp_path):
    git(clone.folder, "tag", f"v{VERSION}")
    before = git(clone.folder, "rev-parse", "HEAD")
    clone.write("CHANGELOG.md", "New", "Newer")
    [line] = clone.refused("--publish", answer=f"{VERSION}\n")
    assert line == f"the tag v{VERSION} exists, of commit {before[:12]}, and is not moved: a new release has a new version"
    assert git(clone.folder, "rev-parse", f"v{VERSION}") == before
    other = Clone(clone.folder, tmp_path / "other")
    git(other.folder, "tag", "--delete", f"v{VERSION}")
    assert other.refused() == [f"the tag v{VERSION} exists at origin, and is not moved: a new release has a new version"]
    git(other.folder, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    assert other.refused() == [f"origin can't be asked whether it has the tag v{VERSION}: git ls-remote origin says why"]


def test_wheels_of_other_systems_take_the_place_of_the_one_built_here(clone, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert clone.refused("--wheels", "wheels") == [f"{wheels} has no wheels"]
    names = [f"fastprep-{VERSION}-cp3{minor}-cp3{minor}-manylinux_2_28_aarch64.whl" for minor in (11, 12)]
    for name in names:
        (wheels / name).write_text(name)
    done = clone.release("--wheels", "wheels")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (clone.folder / "dist" / VERSION).iterdir()) == [*names, f"fastprep-{VERSION}.tar.gz"]
    (wheels / names[0]).rename(wheels / names[0].replace(VERSION, "3.2.0"))
    [line] = clone.refused("--wheels", "wheels")
    assert line.endswith(f"is neither the sdist nor a manylinux wheel of fastprep {VERSION}")


def test_options_that_there_are_not(clone):
    for options in (["--pubish"], ["--wheels"], ["--wheels", "nowhere"]):
        done = clone.release(*options)
        assert (done.returncode, done.stderr) == (2, "usage: .ci/release [--wheels FOLDER] [--publish]\n")


def test_classifiers_name_the_pythons_that_are_tested_and_each_of_them_gets_a_wheel():
    settings = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text())
    classifiers = "\n".join(settings["project"]["classifiers"])
    named = re.findall(r"Python :: (3\.\d+)", classifiers)
    named += [f"{named[-1]}t"] * ("Python :: Free Threading" in classifiers)
    assert " ".join(named) == re.search(r"^for version in (.*); do$", (SCRIPTS / "pythons").read_text(), re.MULTILINE)[1]
    built = settings["tool"]["cibuildwheel"]["build"].split()
    assert {f"cp{version.replace('.', '')}-manylinux*" for version in named} <= set(built)


def test_fastprep_itself_has_one_version():
    spec = importlib.util.spec_from_file_location("versions", SCRIPTS / "versions.py")
    versions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(versions)
    assert versions.problems(SCRIPTS.parent) == []
