"""The simulation of many ranks, in small: it has to run, and to count right."""

import numpy as np
import pytest
import scale


@pytest.mark.parametrize("chunk", [1, 8])
def test_every_sample_comes_once(chunk):
    arguments = scale.parse(["--samples", "10_007", "--files", "3", "--ranks", "5", "--batch-size", "16", "--chunk", str(chunk)])
    times, n_steps = scale.count(arguments)
    assert (times == 1).all()
    assert len(n_steps) == 5
    assert "samples that came once: 10,007; never: 0" in "\n".join(scale.report(arguments))


def test_dropped_samples_are_seen():
    arguments = scale.parse(["--samples", "1000", "--ranks", "3", "--batch-size", "16", "--drop-remainder"])
    times, n_steps = scale.count(arguments)
    assert n_steps == [20, 20, 20]
    assert np.bincount(times).tolist() == [40, 960]
