"""Remote files in many threads: the same batches, and no thread that is left when a loader is forgotten."""

import gc
import time

import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest
from threads import copied, number_of, one_by_one, together, until_none_is_left

from fastprep import RandomCrop
from fastprep.loader import Loader
from fastprep.remote import Session, current, find, sessions

OPTIONS = {"mean": None, "shuffle": True, "seed": 3, "workers": 2}


def use(url):
    """Take some batches of a loader, and forget it."""
    iterator = iter(Loader(url, 5, RandomCrop(7), **OPTIONS))
    return [copied(next(iterator)) for _ in range(2)]


@pytest.mark.parametrize("layout", [{}, {"chunks": (3, 12, 14, 3), "compression": "gzip"}], ids=["plain", "gzip"])
def test_loaders_of_one_file_in_as_many_threads_and_threads_of_one_loader(make_file, server, layout):
    path, _, _ = make_file(n=60, **layout)
    url = server.put(path.name, path.read_bytes())
    with Loader(url, 5, RandomCrop(7), **OPTIONS) as alone:
        wanted = one_by_one(alone, 4)

    def use_one():
        with Loader(url, 5, RandomCrop(7), **OPTIONS) as loader:
            return number_of([copied(batch) for batch in loader], wanted)

    assert together(*[use_one] * 4) == [0] * 4
    with Loader(url, 5, RandomCrop(7), **OPTIONS) as loader:
        came = together(*[lambda: [copied(batch) for batch in loader]] * 4)
    assert sorted(number_of(batches, wanted) for batches in came) == [0, 1, 2, 3]


def test_files_that_are_opened_at_the_same_moment_with_other_settings_have_names_of_their_own(make_file, server, monkeypatch):
    """Who finds a file by the name of another one would read from another server, perhaps."""
    path, _, _ = make_file(n=5)
    url = server.put(path.name, path.read_bytes())
    opened = sessions.RemoteFile

    def slowly(*arguments):
        time.sleep(0.1)
        return opened(*arguments)

    monkeypatch.setattr(sessions, "RemoteFile", slowly)
    apart = [Session(cache_bytes=n << 20) for n in (50, 60, 70)]
    alike = [Session(cache_bytes=80 << 20) for _ in range(2)]
    files = together(*[lambda session=session: session.open(url) for session in [*apart, *alike]])
    assert len({file.name for file in files[:4]}) == 4
    assert files[3] is files[4]
    assert [find(file.name) for file in files] == files


def test_a_forgotten_loader_ends_the_threads_that_fetch_for_it(make_file, server):
    """A thread may keep the context in which it was started, as it does where Python has no global lock."""
    path, _, _ = make_file(n=60)
    url = server.put(path.name, path.read_bytes())
    np.testing.assert_array_equal(*[use(url)[1][1] for _ in range(2)])

    def end_others():
        current().fetcher.rest()  # those of the process, in which a batch was made when the loader had gone
        gc.collect()

    until_none_is_left(30, end_others)
