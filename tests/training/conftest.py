"""Fixtures of the tests of training."""

import pytest

from fastprep.system.atomic import whole_file

DRAWN = ("test_train", "test_several_labels")


def blank(history, path):
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")


@pytest.fixture(scope="module", autouse=True)
def blank_curves(request):
    """Runs of this process do not draw their curves, a quarter of a second for each epoch, but in the modules in `DRAWN`."""
    if request.path.stem in DRAWN:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastprep.training.run_folder.draw_curves", blank)
        yield
