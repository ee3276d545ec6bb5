"""Epochs of a remote file beside a bare loop of parallel range requests for the same bytes, from a server on loopback.

    python benchmarks/remote.py [--mib 1024] [--delay-ms 30] [--mb-per-s 250] [--connection-mb-per-s 40] [--faults 0.01]

The server is a process of its own on the same machine, so that it takes a part of its processors. Nothing here says anything
about a cloud. It needs the extra `remote`, and the folder tests/ for the server.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import fastprep
from fastprep.remote.object_stores import ObjectStore

REQUEST, IN_FLIGHT = 4 << 20, 16


def serve(connection, path, settings):
    """Serve a file until the other end of the connection closes."""
    from range_server import RangeServer

    server = RangeServer()
    address = server.put("train.h5", Path(path).read_bytes())
    for name, value in settings.items():
        setattr(server, name, value)
    connection.send(address)
    try:
        while True:
            connection.recv()
            connection.send((server.n_requests, server.n_bytes))
            server.forget()
    except EOFError:
        pass


def bare(address, n_bytes):
    """Fetch all bytes by parallel requests, each again after a fault; return the seconds."""
    base, _, key = address.rpartition("/")
    store = ObjectStore(base, {})

    def fetch(start):
        while True:
            try:
                return len(store.fetch(key, start, min(start + REQUEST, n_bytes), None)[0])
            except Exception:
                time.sleep(0.05)

    began = time.perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        assert sum(pool.map(fetch, range(0, n_bytes, REQUEST))) == n_bytes
    return time.perf_counter() - began


def main():
    """Print seconds, MB/s and the ratio of three rounds, in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--delay-ms", type=float, default=30)
    parser.add_argument("--mb-per-s", type=float, help="of all connections together; default: as fast as the machine goes")
    parser.add_argument("--connection-mb-per-s", type=float, help="of each connection")
    parser.add_argument("--faults", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, n = Path(folder, "train.h5"), options.mib * (1 << 20) // (128 * 128 * 3)
        with h5py.File(path, "w") as file:
            file["images"] = np.random.default_rng(0).integers(0, 256, (n, 128, 128, 3), dtype=np.uint8)
            file["labels"] = np.arange(n) % 10
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        settings = {
            "delay_s": options.delay_ms / 1000,
            "fault_share": options.faults,
            "bytes_per_s": options.mb_per_s and options.mb_per_s * 1e6,
            "connection_bytes_per_s": options.connection_mb_per_s and options.connection_mb_per_s * 1e6,
        }
        process = context.Process(target=serve, args=(theirs, path, settings), daemon=True)
        process.start()
        theirs.close()
        address, n_bytes = ours.recv(), path.stat().st_size
        crop = fastprep.RandomCrop(112, mirror=True)
        with fastprep.Loader(path, 128, crop, mean=None, device="cpu") as local:  # which imports Keras
            next(iter(local))
        for _ in range(3):
            alone = bare(address, n_bytes)
            ours.send(0)
            ours.recv()
            began = time.perf_counter()
            with fastprep.Loader(address, 128, crop, mean=None, shuffle=True, device="cpu") as loader:
                opened = time.perf_counter() - began
                n_read = sum(len(y) for _, y in loader)
                seconds = time.perf_counter() - began
                ours.send(0)
                requests, moved = ours.recv()
                began = time.perf_counter()
                n_read += sum(len(y) for _, y in loader)
                second = time.perf_counter() - began
            del loader  # the next one shares nothing with it
            gc.collect()
            ours.send(0)
            assert n_read == 2 * n
            mb = n_bytes / 1e6
            print(f"bare {mb / alone:,.0f} MB/s, with opening {mb / seconds:,.0f} MB/s, ratio {alone / seconds:.2f}", end="; ")
            print(f"opened in {opened:.2f} s, {requests} requests, {moved / n_bytes:.3f} of the bytes", end="; ")
            print(f"second epoch {second:.2f} s, {ours.recv()[0]} requests")
        ours.close()


if __name__ == "__main__":
    main()
