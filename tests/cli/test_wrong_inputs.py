"""Wrong inputs of all commands: one clear line in the words of the command, status 2, and nothing is written.

Without Keras. What a network does wrong is in tests/training/test_network.py, what a run folder lacks in test_resume.py.
"""

import importlib
import json
import shlex
import sys
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

FILES = "--train train.h5 --val val.h5"
SMALL = f"{FILES} --crop 10"
TEST = "any.keras --data val.h5 --mean none"

WORDS = {  # what the words of a command line break before a file is opened
    "train --epohcs 3": "there is no option --epohcs; did you mean --epochs? python -m fastprep.train --help lists the options",
    "train --no-quite": "there is no option --no-quite; did you mean --no-quiet?",
    "train --epochs": "--epochs needs a value, INT; ",
    "train --epochs x": "--epochs must be a whole number, got 'x'; ",
    "train --epochs=": "--epochs must be a whole number, got ''; ",
    "train --profile x": "--profile must be a whole number, got 'x'; ",
    "train --lr x": "--lr must be a number, got 'x'; ",
    "train --augment crops": "--augment must be one of none, crop, imagenet, strong, got 'crops'; did you mean crop? ",
    "train --quiet=yes": "--quiet is on or off, and takes no value, got 'yes'; ",
    "train --out -x": "--out needs a value, FOLDER; one that begins with a dash is joined to it: --out=-x; ",
    "train --out --quiet": "--out needs a value, FOLDER; python -m fastprep.train --help lists the options",
    "train train.h5": "there is no place for 'train.h5': the command takes options only, which begin with --; ",
    "evaluate run --dat val.h5": "there is no option --dat; did you mean --data? ",
    "evaluate run --crops nine": "--crops must be one of both, plain, ten, got 'nine'; ",
    "show": "FILE is missing; python -m fastprep.show --help lists the options",
    "show train.h5 val.h5": "there is no place for 'val.h5': the command takes FILE, and options; ",
    "show train.h5 --images a b": "--images takes one name; a network of several inputs is for Python",
    "show train.h5 --batch-size 3": "there is no option --batch-size; python",
    "doctor train.h5 val.h5": "there is no place for 'val.h5': the command takes FILE, and options; ",
    "doctor train.h5 --batchsize 3": "there is no option --batchsize; did you mean --batch-size? ",
    "build": "IMAGES and OUT are missing; python -m fastprep.build --help lists the options",
    "build photos": "OUT is missing; ",
    "build photos out --split 1 2": "--split needs 3 values, TRAIN VAL TEST; ",
    "build photos out --split 1 0 x": "--split must be a number, got 'x'; ",
    "build photos out --labels nune": "--labels must be one of none, got 'nune'; did you mean none? ",
    "convert train.h5": "OUT is missing; ",
    "convert train.h5 out.h5 --encode jpg": "--encode must be one of jpeg, png, webp, webp-lossless, keep, got 'jpg'; did you ",
    "convert train.h5 out.h5 --gzip-level 0": "--gzip-level must be one of 1, 2, 3, 4, 5, 6, 7, 8, 9, got '0'; ",
}
OPTIONS = {  # values that are out of range, or exclude each other
    "train": "--train FILE and --val FILE are needed (or --val-split SHARE, or --fold K/N), or --demo, or --resume RUN",
    "train --train train.h5 --val-split 2": "--val-split must be above 0 and below 1, got 2.0",
    "train --train train.h5 --fold 6/5": "--fold must be K/N, such as 2/5 for the second of five folds, got 6/5",
    f"train {FILES} --val-split 0.3": "say one of them, and leave --val, --val-images and --val-labels out",
    f"train {FILES} --seed -1": "--seed must be from 0 to 4294967295, as Keras takes it, got -1",
    f"train {FILES} --lr nan": "--lr must be above 0, got nan",
    f"train {FILES} --classes 1": "--classes must be at least 2, got 1",
    f"train {FILES} --labels none": "--labels none has nothing to train on: name the labels of the training images",
    f"train {FILES} --trust": "--trust goes with --resume, --config or --weights, whose files it trusts",
    f"train {FILES} --model alxnet": "--model must be alexnet or MODULE:FUNCTION, such as keras.applications:MobileNetV2 or "
    "fastprep.model:small_cnn, got 'alxnet'",
    f"train {FILES} --policy rand:x": "--policy must be trivial, rand, or rand:N:M such as rand:2:9, got 'rand:x'",
    f"train {FILES} --mean compuet": "--mean must be file, compute, none, or the path of a JSON file, and there is no file 'comp",
    f"train {FILES} --out theirs": "--out: 'theirs' exists already; a run never writes over another",
    f"train {FILES} --out s3://b/run": "'s3://b/run' is an address, and files are written on this machine: copy them there",
    f"train {SMALL} --batch-size 0": "--batch-size must be an integer of at least 1, got 0",
    f"train {SMALL} --workers 0": "--workers must be an integer of at least 1, got 0",
    f"train {SMALL} --class-weight 0:x": "--class-weight must be none, balanced, or CLASS:WEIGHT, separated by commas",
    f"train {SMALL} --class-weight 0:-1": "--class-weight must be finite and not negative, got '0:-1'",
    f"train {SMALL} --class-weight 7:1": "--class-weight: the training file has no images of class '7'",
    f"train {SMALL} --classes 2": "file 'train.h5': label 2 is not among the 2 of --classes",
    f"train {SMALL} --shape axb": "--shape must be HEIGHTxWIDTHxCHANNELS, such as 28x28x1, or HEIGHTxWIDTH, got 'axb'",
    f"train {SMALL} --channels ,": "--channels must be numbers from 0 such as 0,1,2, or letters such as RGB, got ','",
    f"train {SMALL} --channels 0,5": "--channels must be numbers from 0 to 2, or names of channels, got [0, 5]",
    "evaluate": "name a run: python -m fastprep.evaluate RUN --data FILE",
    "evaluate any.keras": "--data FILE is needed, or --split val for the images that a run with --val-split was not trained on",
    "evaluate any.keras --data val.h5": "'any.keras' does not say what training subtracted: say --mean file, compute, none, or a",
    f"evaluate {TEST} --compare": "--compare needs two RUNs or more, and labels",
    f"evaluate {TEST} --out theirs": "'theirs' exists already; it is only replaced with --overwrite; --out names another",
    f"evaluate {TEST} --out theirs --overwrite": "'theirs' has no mark of fastprep, and a folder that it did not write is not",
    "evaluate any.keras --data val.h5 --mean rnu": "--mean must be run, file, compute, none, or the path of a JSON file",
    "show train.h5 --store": "--store goes with --mean only",
    "show train.h5 --flip": "--flip: goes with --crops, which draws what training will see",
    "show train.h5 --sheet a.png --n 0": "--n must be at least 1, got 0",
    "show train.h5 --sheet a.png --crops a.png": "--sheet and --crops name the same file, 'a.png'",
    "show train.h5 --sheet theirs.png": "'theirs.png' exists already; it is only replaced when asked to (--overwrite)",
    "show train.h5 --sheet theirs.png --overwrite": "'theirs.png' has no mark of fastprep, and a file that it did not write is",
    "show train.h5 --sheet s3://b/a.png": "'s3://b/a.png' is an address, and files are written on this machine",
    "show train.h5 --mean --store": "file 'train.h5' has a mean already: 90.0000, 100.0000, 110.0000 (--overwrite)",
    "doctor train.h5 --size 0": "--size must be at least 1, got 0",
    "doctor train.h5 --rounds 0": "--rounds must be at least 1, got 0",
    "doctor train.h5 --batch-size 0": "--batch-size must be at least 1, got 0",
    "build photos out --split 0.5 0.5 0.5": "--split must be three shares that add up to 1, that of training above 0; got 0.5",
    "build photos out --size 0": "--size must be at least 1, got 0",
    "build photos out --quality 50": "--quality goes with --encoded and --size only, which make JPEGs anew",
    "build photos out --file-column 0": "--file-column and --label-column go with --csv only",
    "build photos out --csv photos.csv --split-folders": "one of --csv, --pattern and --split-folders at a time",
    "build photos out --pattern class.png": '--pattern must name {class} once, and {} for anything else, like "{class}.{}.jpg"',
    "build photos out --csv none.csv": "--csv: 'none.csv': No such file or directory",
    "build photos out --csv photos.csv --label-column x": "--label-column: 'photos.csv' has no column 'x' in its first row",
    "build photos theirs.h5": "OUT: 'theirs.h5' is a file; the name of a folder is needed",
    "build photos s3://b/out": "'s3://b/out' is an address, and files are written on this machine",
    "convert train.h5 out.h5 --quality 50": "--quality goes with --encode jpeg and --encode webp only",
    "convert train.h5 out.h5 --encode jpeg --compression gzip": "--encode goes without --compression, because encoded images are",
    "convert train.h5 out.h5 --size 3x": "--size must be PIXELS, such as 256, or HEIGHTxWIDTH, such as 256x320, got '3x'",
    "convert train.h5 out.h5 --shorter-side 5": "--shorter-side and --resize go with --size only",
    "convert train.h5 train.h5": "'train.h5' is a file that the images are read from; a file is not converted in place",
    "convert train.h5 theirs.h5 --overwrite": "'theirs.h5' has no mark of fastprep, and a file that it did not write is not",
    "convert train.h5 photos": "'photos' is a folder; the name of a file is needed",
    "convert train.h5 s3://b/out.h5": "'s3://b/out.h5' is an address, and files are written on this machine",
    "convert train.h5 train.h5 out.h5": "IN must name each file once, but 'train.h5' is 'train.h5', which is there already",
}
CONTENTS = {  # what files hold, as options of training call it
    f"train {SMALL} --labels lables": "file 'train.h5': there is no dataset 'lables', perhaps 'labels' is meant; it has ",
    f"train {SMALL} --val-images x": "file 'val.h5': there is no dataset 'x'; it has 'images' (12, 12, 14, 3) uint8, 'labels' "
    "(12,) int64 (--val-images takes another name)",
    f"train {SMALL} --sample-weight x": "(--sample-weight takes another name)",
    "train --train train.h5 --fold 1/2 --val-groups x": "(--val-groups takes another name)",
    f"train {SMALL} --axes NHW": "file 'train.h5', dataset 'images': --axes NHW are 3, but images have the shape (24, 12, 14, 3)",
    f"train {SMALL} --shape 12x14x4": "--shape 12x14x4 was said, and images of (24, 12, 14, 3) with the axes NHWC are",
    f"train {FILES} --crop 100": "--crop is larger than the image: 100x100 from 12x14 pixels (file 'train.h5', dataset 'images')",
    "train --train short.h5 --val val.h5": "file 'short.h5', dataset 'labels': there must be one label for each of the 24 images",
    "train --train negative.h5 --val val.h5": "file 'negative.h5': labels must be 0 and up, found -1",
    "train --train nan.h5 --val val.h5": "dataset 'labels', sample 3: its label has NaN or infinity; mend the file",
    "train --train means.h5 --val val.h5": "dataset 'images': attribute 'mean' must hold 3 finite numbers, found array([1., 2.,",
    "train --train flat.h5 --val val.h5": "say the shape of an image: --shape HEIGHTxWIDTHxCHANNELS; or `python -m fastprep.conv",
    f"train {SMALL} --mean mean.json": "mean file 'mean.json' must have a finite number for each of B, G, R",
    f"train {SMALL} --config mean.json": "'mean.json' has unknown options: G, R; this is fastprep",
    "train --config many.json": "'many.json': --epochs must be a whole number, got 'many'; ",
    "train --resume norun": "--resume: there is no run in 'norun'",
    "train --resume newer": "'newer/config.json' has unknown options: turbo; this is fastprep",
    "train --resume badrun": "--resume: 'badrun/last.keras' is not a saved run: it was not written by fastprep.train; begin",
    "evaluate none.keras --data val.h5": "there is no run, and no .keras file, 'none.keras'",
    "evaluate norun --data val.h5": "'norun' has no best.keras",
    "evaluate train.h5 --data val.h5": "'train.h5' is no .keras file, which is a ZIP; RUN is a folder of fastprep.train, or",
    "evaluate none --split val": "there is no run, and no .keras file, 'none'",
    f"evaluate {TEST} --labels lables": "(--labels takes another name)",
    "show train.h5 --labels lables": "--labels lables: none that loaders take: there is no dataset 'lables'",
    "show train.h5 --crops a.png --size 100": "--size: crop is larger than the image: 100x100 from 12x14 pixels",
    "show flat.h5": "24 rows of 505 numbers, uint8, are flat ones; then say --images images --shape HxWxC, such as 28x28x1",
    "doctor train.h5 --size 100": "--size is larger than the image: 100x100 from 12x14 pixels",
    "train --train photos": "'photos' is a folder, not an HDF5 file; `python -m fastprep.build photos OUT` makes such files",
    "build photos/a out": "--csv; --labels none is for images without classes",
    "build norun out": "IMAGES has no image with a class. 1 files and folders: 0 used, 0 unreadable, 1 skipped",
    "build single out": "IMAGES has only one class, 'a'. ",
    "build train.h5 out": "IMAGES: 'train.h5' is a file, not a folder",
    "convert short.h5 out.h5 --labels labels": "file 'short.h5', dataset 'labels': there must be one label for each of the 24",
    "convert train.h5 out.h5 --encode keep": "the images are pixels, which can't be kept as encoded images: encode them as png",
}
SOURCES = {  # files that are no HDF5 files, in the place of one
    "none.h5": "No such file or directory: 'none.h5'",
    "photos": "'photos' is a folder, not an HDF5 file; `python -m fastprep.build photos OUT` makes such files of a folder of im",
    "parts": "'parts' is a folder, not an HDF5 file; 'parts/*.h5' names the files in it",
    "photos/a/0.png": "not an HDF5 file but an image, PNG; `python -m fastprep.build photos/a OUT` makes HDF5 files of a folder",
    "text.h5": "file 'text.h5': not an HDF5 file",
    "empty.h5": "file 'empty.h5': not an HDF5 file",
    "truncated.h5": "file 'truncated.h5': HDF5 can't open it: ",
    "nothing.h5": "there is no dataset 'images' and nothing that seems to be images; it has 'labels' (5,) int64, 'x' (5,) int64 ",
    "ftp://b/train.h5": "'ftp://b/train.h5' is no address that fastprep reads: these begin with s3://, gs://, az://, abfs:// or ",
    "'none*.h5'": "no",
}
USES = {
    "train": "--train {} --val val.h5 --crop 10",
    "evaluate": "any.keras --mean none --data {}",
    "show": "{}",
    "doctor": "{}",
    "convert": "{} out.h5",
}
AXES = {
    "train": f"{SMALL} --axes XYZ",
    "evaluate": f"{TEST} --axes XYZ",
    "show": "train.h5 --axes XYZ",
    "doctor": "train.h5 --axes XYZ",
    "convert": "train.h5 out.h5 --axes XYZ",
}
LINES = {
    **WORDS,
    **OPTIONS,
    **CONTENTS,
    **{f"{name} {USES[name].format(path)}": message for name in USES for path, message in SOURCES.items()},
    **{
        f"{name} {words}": "--axes must be the letters H and W, and N and C where there are such axes"
        for name, words in AXES.items()
    },
}


def write(path, labels, n=24, mean=(90.0, 100.0, 110.0)):
    with h5py.File(path, "w") as file:
        file["images"] = np.arange(n * 12 * 14 * 3, dtype=np.uint8).reshape(n, 12, 14, 3)
        file["images"].attrs["mean"] = mean
        file["labels"] = labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with right files, wrong ones, and some of other people."""
    folder = tmp_path_factory.mktemp("wrong")
    labels = np.arange(24) % 3
    write(folder / "train.h5", labels)
    write(folder / "val.h5", labels[:12], n=12)
    write(folder / "short.h5", labels[:7])
    write(folder / "negative.h5", labels - 1)
    write(folder / "nan.h5", np.where(np.arange(24) == 3, np.nan, 1.0))
    write(folder / "means.h5", labels, mean=[1.0, 2.0, 3.0, 4.0])
    for name, images in (("flat.h5", {"images": np.zeros((24, 505), np.uint8)}), ("nothing.h5", {"x": np.arange(5)})):
        with h5py.File(folder / name, "w") as file:
            file.update(images)
            file["labels"] = np.arange(len(*images.values()))
    (folder / "parts").mkdir()
    (folder / "parts" / "0.h5").touch()
    (folder / "empty.h5").touch()
    (folder / "text.h5").write_text("no HDF5\n" * 100)
    (folder / "truncated.h5").write_bytes((folder / "train.h5").read_bytes()[:9000])
    for name in ("photos/a", "photos/b", "single/a", "norun", "newer", "badrun", "theirs"):
        (folder / name).mkdir(parents=True)
    for name in ("photos/a/0.png", "photos/b/1.png", "single/a/0.png"):
        Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(folder / name)
    (folder / "photos.csv").write_text("file,label\na/0.png,cat\nb/1.png,dog\n")
    (folder / "mean.json").write_text('{"R": 1, "G": 2}')
    (folder / "many.json").write_text('{"epochs": "many"}')
    run = {"train": "train.h5", "val": "val.h5", "crop": 10}
    (folder / "newer" / "config.json").write_text(json.dumps({**run, "turbo": True}))
    (folder / "badrun" / "config.json").write_text(json.dumps(run))
    for name in ("badrun/last.keras", "norun/notes.txt", "theirs/notes.txt", "theirs.h5", "theirs.png"):
        (folder / name).write_text("mine")
    with zipfile.ZipFile(folder / "any.keras", "w") as file:
        file.writestr("metadata.json", "{}")
    return folder


def listing(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def run(line, capsys):
    """Return the exit status of a command line, and what it wrote on standard error."""
    name, *words = shlex.split(line)
    try:
        status = importlib.import_module(f"fastprep.{name}").main(words)
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().err


def test_there_are_many_wrong_inputs_of_every_command():
    commands = [line.partition(" ")[0] for line in LINES]
    assert len(LINES) > 150
    assert {name: commands.count(name) > 10 for name in set(commands)} == dict.fromkeys([*USES, "build"], True)


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_input_is_one_line_and_nothing_is_written(line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = listing(folder)
    status, error = run(line, capsys)
    assert status == 2, error
    assert error.startswith(f"fastprep.{line.partition(' ')[0]}: ")
    assert error.count("\n") == 1
    assert LINES[line] in error
    assert "Traceback" not in error
    assert listing(folder) == before


@pytest.mark.parametrize("name", USES)
def test_remote_files_without_their_library_are_an_error_with_the_way_out(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "obstore", None)
    status, error = run(f"{name} {USES[name].format('s3://bucket/train.h5')}", capsys)
    assert status == 2
    assert "pip install 'fastprep[remote]'" in error
    assert error.count("\n") == 1


def test_no_labels_are_said_alike(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(folder)
    assert run("show train.h5 --labels none", capsys) == (0, "")
    assert run(f"convert train.h5 {tmp_path / 'out.h5'} --labels none", capsys) == (0, "")
