"""Runs one target under the coverage-guided fuzzer atheris: python fuzz.py files|heaps|chunks CORPUS [LIBFUZZER OPTION ...].

CORPUS is a folder; where it is empty the seeds are written to it first. A file as CORPUS is run once: that is how a failure
is looked at again. Coverage is that of fastprep's Python; HDF5 and the codecs are seen through it only.
"""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["fastprep.h5"]):
    import targets

ADDRESS_SPACE = 3 << 30  # so that memory that is asked for and not touched is noticed, too


def keep_places(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a file so that what its addresses point at mostly stays there: bytes that were inserted would move all the rest."""
    changed = atheris.Mutate(data, len(data)) if data else data
    return changed if seed % 4 == 0 else changed + data[len(changed) :]


def main() -> None:
    """Fuzz until libFuzzer's limits are reached, or something breaks."""
    name, corpus, *options = sys.argv[1:]
    logging.disable()  # of each file that HDF5 has to read
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    known, mutator = targets.pipelines(), {}
    is_empty = Path(corpus).is_dir() and not any(Path(corpus).iterdir())
    if name == "files":
        target, mutator = targets.read_file, {"custom_mutator": keep_places}
        if is_empty:
            targets.file_seeds(Path(corpus))
    elif name == "heaps":
        target, mutator = targets.read_heap, {"custom_mutator": keep_places}
        if is_empty:
            targets.heap_seeds(Path(corpus))
    else:

        def target(data: bytes) -> None:
            targets.decode_chunk(data, known)

        if is_empty:
            targets.chunk_seeds(Path(corpus), known)
    atheris.Setup([sys.argv[0], corpus, "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", *options], target, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
