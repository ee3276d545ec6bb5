"""Messages about arguments of Python, in the words of a command."""

import pytest

from fastprep.cli.option_words import in_options

FILE = "file 'a.h5', dataset 'images': "


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("batch_size must be an integer of at least 1, got 0", "--batch-size must be an integer of at least 1, got 0"),
        ("size is too large", "--size is too large"),
        ("channels='XYZ': the file has RGB", "--channels XYZ: the file has RGB"),
        ("channels=[0, 5] are too many", "--channels 0,5 are too many"),
        (FILE + "axes='HW' are 2", FILE + "--axes HW are 2"),
        (FILE + "shape=(3, 4, 1) was said", FILE + "--shape 3x4x1 was said"),
        (FILE + "say shape=(height, width, channels); or", FILE + "say --shape HEIGHTxWIDTHxCHANNELS; or"),
        (FILE + "say axes='NCHW' or axes='NCWH', if so", FILE + "say --axes NCHW or --axes NCWH, if so"),
        (FILE + 'found channels="BGR"', FILE + "found --channels BGR"),
        (FILE + "mend the file, or pass check_finite=False to get such labels", FILE + "mend the file"),
    ],
)
def test_arguments_become_options(message, wanted):
    assert in_options(message) == wanted
    assert in_options(wanted) == wanted


@pytest.mark.parametrize(
    "message",
    [
        "file 'negative.h5': labels must be 0 and up, found -1",  # these are no argument
        "the mean is not finite",
        "images of different sizes; Mask(..., axes='NWH') says other axes",
        "say fastprep.Loader(channels='RGB')",
        "CenterCrop(SIZE, resize=PIXELS)",
        "file \"axes='HW'.h5\", dataset 'images': there is no such file",  # nor is this
        "file 'runs/shape=(3, 4)/a.h5', dataset 'images': there is no such file",
    ],
)
def test_other_words_stay(message):
    assert in_options(message) == message


def test_a_command_may_call_an_argument_by_another_name():
    assert in_options("crop is larger than the image", {"crop": "--size"}) == "--size is larger than the image"
