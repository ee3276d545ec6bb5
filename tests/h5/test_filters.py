"""Chunks that do not decode to a chunk, whatever they claim."""

import tracemalloc

import imagecodecs
import numpy as np
import pytest

from fastprep.h5.filters import SLACK_BYTES, DecodeError, Filter, Pipeline

CHUNK_BYTES = 864


@pytest.mark.parametrize("compression", [2, 3])
def test_the_block_length_of_bitshuffle_costs_no_memory(compression):
    pipeline = Pipeline((Filter(32008, (0, 4, 1, 0, compression)),))
    stored = np.frombuffer(CHUNK_BYTES.to_bytes(8, "big") + (2**31).to_bytes(4, "big") + bytes(40), np.uint8)
    out, spare = (np.empty(CHUNK_BYTES + SLACK_BYTES, np.uint8) for _ in range(2))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="bitshuffle data is damaged"):
            pipeline.decode(stored, 0, CHUNK_BYTES, out, spare)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_pipeline_refuses_what_does_not_fill_a_chunk():
    out, spare = np.empty(12, np.uint8), np.empty(12, np.uint8)
    with pytest.raises(DecodeError, match="decoded to 8 bytes, a chunk has 12"):
        Pipeline().decode(np.zeros(8, np.uint8), 0, 12, out, spare)
    for code in (1, 32000, 32001, 32004, 32008, 32015):
        with pytest.raises(DecodeError):
            Pipeline((Filter(code, (0, 4, 1, 0, 2)),)).decode(np.full(8, 255, np.uint8), 0, 12, out, spare)
    with pytest.raises(DecodeError, match=r"fletcher32 data is damaged \(checksum is"):
        Pipeline((Filter(3),)).decode(np.zeros(16, np.uint8) + 1, 0, 12, out, spare)


def test_shuffle_without_an_element_size_may_only_be_skipped():
    """HDF5 writes it so for rows of variable length, and skips it."""
    out, spare, stored = np.empty(80, np.uint8), np.empty(80, np.uint8), np.arange(16, dtype=np.uint8)
    pipeline = Pipeline((Filter(2),))
    assert pipeline.decode(stored, 1, 16, out, spare).tolist() == list(range(16))
    with pytest.raises(DecodeError, match=r"shuffle data is damaged \(the size of an element is not known\)"):
        pipeline.decode(stored, 0, 16, out, spare)


def test_blosc_may_not_claim_more_bytes_than_are_stored():
    """Blosc itself takes the length from the header, and would read on behind the chunk."""
    content = np.arange(4000, dtype=np.uint8).tobytes()
    stored = np.frombuffer(imagecodecs.blosc_encode(content, compressor="lz4"), np.uint8)
    out, spare = np.empty(4064, np.uint8), np.empty(4064, np.uint8)
    pipeline = Pipeline((Filter(32001),))
    assert pipeline.decode(stored, 0, 4000, out, spare).tobytes() == content
    for length in (len(stored) - 1, 40, 16, 8):
        with pytest.raises(DecodeError, match=r"blosc data is damaged \(the data end early\)"):
            pipeline.decode(stored[:length], 0, 4000, out, spare)
