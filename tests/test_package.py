"""What holds for the package as a whole: imports, their direction, the tutorial's operations, the files it writes."""

import ast
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference
from optional_libraries import needs

import fastprep
from fastprep.h5 import read_metadata, write_images
from fastprep.loader import Loader
from fastprep.system import whole_file, whole_folder

PACKAGE = Path(fastprep.__file__).parent
PUBLIC = {f"fastprep.{name}" for name in fastprep.__all__}

# A module imports only from its own folder and from those above it in this list.
LAYERS = [
    "_version",
    "command_lines",
    "errors",
    "system",
    "_log",
    "_sink",
    "sampling",
    "transforms",
    "encoded",
    "reports",
    "remote",
    "h5",
    "h5.convert",
    "cli",
    "quiet",
    "kernels",
    "dataset",
    "building",
    "pipeline",
    "_arguments",
    "_resuming",
    "presentation",
    "loader",
    "adapters",
    "model",
    "diagnostics",
    "training.distributed",
    "training",
    "evaluation",
    "demo",
]
NEED_KERAS = {"EpochSync", "LoaderMetrics", "predict"}
COMMANDS = ["__main__", "build", "convert", "doctor", "evaluate", "show", "train"]
DOORS = {
    "h5py": {"h5", "diagnostics.by_hand"},  # the latter does without fastprep what people do
    "cupy": {"kernels.device"},
    "PIL": {"building.decode", "demo", "encoded"},
    "keras": {"adapters", "model", "cli.keras_startup", "training", "evaluation", "demo"},
    "obstore": {"remote.object_stores"},
    "tensorflow": {"adapters", "cli.keras_startup", "diagnostics.by_hand", "training"},
    "nvidia": {"pipeline.device_jpegs"},
    "jax": {"adapters.jax", "adapters.sharded"},
    "torch": {"adapters.torch"},
}


def modules():
    for prefix, folder in ((("fastprep",), PACKAGE), (("fastprep", "model"), (PACKAGE / "model").resolve())):
        for path in sorted(folder.rglob("*.py")):
            name = ".".join((*prefix, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
            yield name, ast.parse(path.read_text())


def imported(tree, everywhere):
    """Yield the modules that a file imports: at its top level, or everywhere but under TYPE_CHECKING."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    typing_only = {id(inner) for guard in guards for inner in ast.walk(guard)}
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name):
    """Return the folder, or module, of LAYERS that a module is in, and where it stands there; commands are above all."""
    name = name.removeprefix("fastprep.")
    if name in COMMANDS:
        return name, len(LAYERS)
    folders = [known for known in LAYERS if name == known or name.startswith(known + ".")]
    return (folder := max(folders, key=len)), LAYERS.index(folder)


def test_modules_import_only_from_those_above_them():
    for name, tree in modules():
        if name == "fastprep":
            continue
        folder, height = layer(name)
        for other in imported(tree, everywhere=True):
            if other.startswith("fastprep.") and other not in PUBLIC:
                other_folder, other_height = layer(other)
                assert other_folder == folder or other_height < height, f"{name} imports {other}"


def test_heavy_libraries_have_one_door_each():
    for name, tree in modules():
        for other in imported(tree, everywhere=True):
            library = other.partition(".")[0]
            if library in DOORS:
                assert any(name == f"fastprep.{door}" or name.startswith(f"fastprep.{door}.") for door in DOORS[library]), (
                    f"{name} imports {library}"
                )


def test_import_and_iteration_need_neither_keras_nor_tensorflow_nor_cupy(make_file):
    path, images, _ = make_file()
    script = f"""
        import sys
        for name in ("cupy", "tensorflow", "keras", "jax", "torch"):
            sys.modules[name] = None
        import fastprep
        with fastprep.Loader({str(path)!r}, 5, fastprep.CenterCrop(4), mean=None) as loader:
            print(sum(float(x.sum(dtype="float64")) for x, y in loader))
        print(fastprep.image_mean({str(path)!r}).tolist())
        try:
            fastprep.predict
        except ModuleNotFoundError as error:
            print("predict:", error.name)
        try:
            fastprep.nonsense
        except AttributeError as error:
            print(error)
    """
    total, mean, *rest = run(script).splitlines()
    assert float(total) == images[:, 4:8, 5:9].sum()
    np.testing.assert_allclose(json.loads(mean), images.mean(axis=(0, 1, 2)))
    assert rest == ["predict: keras", "module 'fastprep' has no attribute 'nonsense'"]


@needs("keras")
def test_what_the_package_shows_is_what_is_documented():
    assert dir(fastprep) == sorted(fastprep.__all__)
    assert all(hasattr(fastprep, name) for name in fastprep.__all__ if name not in NEED_KERAS)
    script = """
        import fastprep
        print(fastprep.loader.Loader.__name__, fastprep.h5.write_images.__name__, fastprep.kernels.crop.__name__)
        print(fastprep.errors.DataError is fastprep.DataError, fastprep.model.__name__)
        print([name for name in dir(fastprep) if not name.startswith("_")])
    """
    public = sorted(name for name in fastprep.__all__ if not name.startswith("_"))
    assert run(script).splitlines() == ["Loader write_images crop", "True fastprep.model", str(public)]


def test_importing_the_package_imports_no_framework():
    heavy = {"keras", "tensorflow", "cupy", "matplotlib"}
    assert run(f"import sys, fastprep; print(len({heavy} & set(sys.modules)))").strip() == "0"


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the tutorial's pipeline, operation by operation


@pytest.fixture(params=["uint8", "float64"])
def tutorial_file(request, tmp_path, rng):
    """As its HDF5DatasetWriter makes it: contiguous, BGR, float64 (or uint8, as it should have been), no attributes."""
    images = rng.integers(0, 256, (12, 256, 256, 3)).astype(request.param)
    with h5py.File(tmp_path / "tutorial.h5", "w") as file:
        file.create_dataset("images", images.shape, "float" if request.param == "float64" else "uint8")[:] = images
        file.create_dataset("labels", (12,), "int")[:] = rng.integers(0, 2, 12)
    (tmp_path / "mean.json").write_text('{"R": 124.96061, "G": 115.97504, "B": 106.13306}')
    return tmp_path / "tutorial.h5", tmp_path / "mean.json", images


MEANS = (124.96061, 115.97504, 106.13306)


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


def cv2_mean(cv2, image):
    blue, green, red = cv2.split(image.astype("float32"))
    red -= MEANS[0]
    green -= MEANS[1]
    blue -= MEANS[2]
    return cv2.merge([blue, green, red])


def test_mean_and_patch_equal_the_tutorials_bit_for_bit(tutorial_file, cv2):
    path, json_path, images = tutorial_file
    crop = fastprep.RandomCrop(227, mirror=True)
    with Loader(path, 5, crop, mean=json_path, shuffle=True, seed=1) as loader:
        for step, (x, _) in enumerate(loader):
            samples = loader.samples(0, step)
            for got, sample, (_, y, left, mirrored) in zip(x, samples, crop.table(256, 256, samples, 1, 0), strict=True):
                for subtracted in (reference.tutorial_mean(images[sample], *MEANS), cv2_mean(cv2, images[sample])):
                    patch = reference.tutorial_patch(subtracted, y, left, 227, 227)
                    np.testing.assert_array_equal(got, cv2.flip(patch, 1) if mirrored else patch)


def test_ten_crops_equal_the_tutorials_bit_for_bit(tutorial_file):
    path, json_path, images = tutorial_file
    with Loader(path, 12, fastprep.TenCrop(227), mean=json_path) as loader:
        x, _ = loader.batch(0, 0)
    for got, image in zip(x.reshape(12, 10, 227, 227, 3), images, strict=True):
        wanted = reference.tutorial_crop(reference.tutorial_mean(image, *MEANS), 227, 227)
        np.testing.assert_array_equal(got, np.asarray(wanted))


# --- files that are written


def test_written_files_read_back_with_everything(tmp_path, rng):
    images = rng.integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    labels = np.arange(7) % 2
    mean = write_images(
        tmp_path / "new" / "x.h5", images, labels, channel_order="RGB", class_names=["cat", "dog"], attributes={"source": "test"}
    )
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_array_equal(mean, fastprep.image_mean(tmp_path / "new" / "x.h5"))
    with Loader(tmp_path / "new" / "x.h5", 7, None) as loader:
        x, y = loader.batch(0, 0)
        np.testing.assert_array_equal(x, images.astype("float32") - mean.astype("float32"))
        np.testing.assert_array_equal(y, labels)
        assert loader.class_names == ("cat", "dog")
        assert loader.channel_order == "RGB"
        assert "contiguous" in loader.stats()["files"][0]["read"]


@pytest.mark.parametrize("names", [["cat", "dog"], ["kočka", "犬", ""], [f"{k} {'ö' * 200}" for k in range(300)]], ids=len)
def test_texts_are_written_in_fixed_length_and_read_in_any(tmp_path, rng, names):
    images, path = rng.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8), tmp_path / "x.h5"
    write_images(path, images, [0, 1, 0], channel_order="BGR", class_names=names, attributes={"source": "Zürich", "note": ""})
    with h5py.File(path, "r") as file:
        texts = [file["images"].attrs.get_id("class_names"), file["images"].attrs.get_id("channel_order")]
        texts += [file.attrs.get_id("source"), file.attrs.get_id("note")]
        for text in texts:
            info = h5py.check_string_dtype(text.dtype)
            assert info.encoding == "utf-8"
            assert info.length is not None
        assert file.attrs["source"].decode() == "Zürich"
    about = read_metadata(path, "images")
    assert about.class_names == tuple(names)
    assert about.channel_order == "BGR"
    with h5py.File(path, "r+") as file:  # as h5py writes lists of texts by itself
        file["images"].attrs["class_names"] = names[:3]
        assert h5py.check_string_dtype(file["images"].attrs.get_id("class_names").dtype).length is None
    assert read_metadata(path, "images").class_names == tuple(names[:3])


def test_writing_is_all_or_nothing(tmp_path, rng):
    images = rng.integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    path = tmp_path / "x.h5"
    for bad, labels, message in (
        (images, np.arange(6), "6 labels, but more images"),
        (images[:5], np.arange(6), "6 labels, but 5 images"),
        ([images[0], images[1].astype(float)], [0, 1], "image 1 is float64"),
        (images.astype(np.uint16), np.arange(7), "images must be uint8, got uint16: convert them first"),
        ([images[0], images[1, :4]], [0, 1], r"image 1 is uint8 \(4, 6, 3\), the first is uint8 \(5, 6, 3\)"),
        ([], [], "0 labels, but 0 images"),
    ):
        with pytest.raises(ValueError, match=message):
            write_images(path, bad, labels)
        assert list(tmp_path.iterdir()) == []
    write_images(path, images, np.arange(7))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        write_images(path, images, np.arange(7))
    with pytest.raises(ValueError, match="labels"):
        write_images(path, images[:2], np.arange(7), overwrite=True)
    assert path.read_bytes() == before


def test_a_file_is_whole_or_not_there(tmp_path):
    target = tmp_path / "folder" / "model.keras"

    def interrupted():
        with whole_file(target) as temporary:
            Path(temporary).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(target.parent.iterdir()) == []
    with whole_file(target) as temporary:
        assert temporary.endswith(".keras")
        Path(temporary).write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_whole_though_a_killed_process_left_half_of_it(tmp_path):
    target = tmp_path / "new" / "folder"
    with whole_folder(target) as temporary:
        left = temporary
        (temporary / "old").write_text("old")
    left.mkdir()
    (left / "half").write_text("half")
    with whole_folder(target, replace=["old"]) as temporary:
        assert temporary != left
        (temporary / "whole").write_text("whole")
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert sorted(target.parent.iterdir()) == [left, target]


def test_image_mean_of_every_type(make_file):
    for dtype in ("uint8", "float32", "float64", "int16"):
        path, images, _ = make_file(dtype=dtype, name=f"{dtype}.h5")
        np.testing.assert_allclose(fastprep.image_mean(path), images.mean(axis=(0, 1, 2), dtype="float64"), rtol=1e-12)
        np.testing.assert_allclose(fastprep.image_mean(path.parent / f"{dtype}.*"), fastprep.image_mean(path))
        np.testing.assert_allclose(fastprep.image_mean([path, path]), images.mean(axis=(0, 1, 2), dtype="float64"), rtol=1e-12)
    with pytest.raises(ValueError, match="files must name at least one file"):
        fastprep.image_mean([])
    one, _, _ = make_file(channels=1, name="one.h5")
    with pytest.raises(ValueError, match=r"one\.h5', dataset 'images': images have 1 channels, those before have 3"):
        fastprep.image_mean([path, one])


@pytest.mark.parametrize("folder", ["h5", "kernels", "pipeline"])
def test_the_readme_of_a_folder_lists_its_modules(folder):
    text = (PACKAGE / folder / "README.md").read_text()
    modules = [path for pattern in ("*.py", "*.pyx", "*/*.py") for path in (PACKAGE / folder).glob(pattern)]
    assert [path.name for path in modules if path.name != "__init__.py" and f"  {path.name} " not in text] == []
