"""The counts of a loader's batches."""

import pickle

from meddling_number import MeddlingNumber

import fastprep


def test_no_batch_is_lost_of_the_counts_when_two_threads_take_one_at_a_time(make_file):
    path, _, _ = make_file()
    with fastprep.Loader(path, 5, fastprep.CenterCrop(4), mean=None) as loader:
        source, batch = loader._source, loader._source.make(0, 0)
        source.n_batches = number = MeddlingNumber(0, lambda: source.count(batch, 0.25))
        source.count(batch, 0.25)
        number.thread.join()
        assert (source.n_batches, source.n_samples, source.wait_s) == (2, 10, 0.5)
        twin = pickle.loads(pickle.dumps(loader))
        twin._source.count(batch, 0)  # with a lock of its own
        assert (twin._source.n_batches, source.n_batches) == (3, 2)
        twin.close()
