"""Epochs of a remote file beside bare loops of parallel range requests for the same bytes, from a server on loopback.

The loop runs alone; beside an epoch of the local file, which tells what the processors allow; and keeping the bytes in a file
without a name, as the loader does, whose second epoch sends no request.

    python benchmarks/remote.py [--mib 1024] [--delay-ms 30] [--mb-per-s 250] [--connection-mb-per-s 40] [--faults 0.01] [--nginx]

The server is a process of its own on the same machine, so that it takes a part of its processors; with `--nginx` it is nginx,
which takes less of them, and has neither delays nor bounds. Nothing here says anything about a cloud. It needs the extra
`remote`, and the folder tests/ for the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from cloud_servers import nginx

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


@contextlib.contextmanager
def by_our_server(path, options):
    """Address of a file, and what returns the numbers of requests and of bytes since it was called before."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    settings = {
        "delay_s": options.delay_ms / 1000,
        "fault_share": options.faults,
        "bytes_per_s": options.mb_per_s and options.mb_per_s * 1e6,
        "connection_bytes_per_s": options.connection_mb_per_s and options.connection_mb_per_s * 1e6,
    }
    context.Process(target=serve, args=(theirs, path, settings), daemon=True).start()
    theirs.close()

    def counts():
        ours.send(0)
        return ours.recv()

    with ours:
        yield ours.recv(), counts


@contextlib.contextmanager
def by_nginx(path):
    """As `by_our_server`, with nginx, whose log has the counts."""
    with nginx(path.parent) as base, open(path.parent / "nginx" / "requests") as log:

        def counts():
            time.sleep(0.1)  # a line comes after the answer
            n_bytes = [int(line.rpartition(" ")[2]) for line in log]
            return len(n_bytes), sum(n_bytes)

        yield f"{base}/{path.name}", counts


def bare(address, n_bytes, is_kept=False):
    """Fetch all bytes by parallel requests, each again after a fault, and perhaps keep them; return the seconds."""
    base, _, key = address.rpartition("/")
    store = ObjectStore(base, {})

    def fetch(start):
        while True:
            try:
                data = store.fetch(key, start, min(start + REQUEST, n_bytes), None)[0]
            except Exception:
                time.sleep(0.05)
            else:
                return os.pwrite(kept.fileno(), data, start) if is_kept else len(data)

    began = time.perf_counter()
    with tempfile.TemporaryFile() as kept, ThreadPoolExecutor(IN_FLIGHT) as pool:
        assert sum(pool.map(fetch, range(0, n_bytes, REQUEST))) == n_bytes
        return time.perf_counter() - began


def beside(loader, address, n_bytes):
    """Fetch all bytes, drop them, and make all batches of a local file meanwhile; return the seconds until both are done."""
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(bare, address, n_bytes)
        for _ in loader:
            pass
        fetched.result()
    return time.perf_counter() - began


def main():
    """Print seconds, MB/s and the ratio of three rounds, in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--delay-ms", type=float, default=30)
    parser.add_argument("--mb-per-s", type=float, help="of all connections together; default: as fast as the machine goes")
    parser.add_argument("--connection-mb-per-s", type=float, help="of each connection")
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--nginx", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path, n = Path(folder, "train.h5"), options.mib * (1 << 20) // (128 * 128 * 3)
        with h5py.File(path, "w") as file:
            file["images"] = np.random.default_rng(0).integers(0, 256, (n, 128, 128, 3), dtype=np.uint8)
            file["labels"] = np.arange(n) % 10
        address, counts = stack.enter_context(by_nginx(path) if options.nginx else by_our_server(path, options))
        n_bytes = path.stat().st_size
        crop = fastprep.RandomCrop(112, mirror=True)
        local = fastprep.Loader(path, 128, crop, mean=None, shuffle=True, device="cpu")
        for _ in local:  # which imports Keras
            pass
        for _ in range(3):
            alone = bare(address, n_bytes)
            both = beside(local, address, n_bytes)
            keeping = bare(address, n_bytes, is_kept=True)
            counts()
            began = time.perf_counter()
            with fastprep.Loader(address, 128, crop, mean=None, shuffle=True, device="cpu") as loader:
                opened = time.perf_counter() - began
                n_read = sum(len(y) for _, y in loader)
                seconds = time.perf_counter() - began
                requests, moved = counts()
                began = time.perf_counter()
                n_read += sum(len(y) for _, y in loader)
                second = time.perf_counter() - began
            del loader  # the next one shares nothing with it
            gc.collect()
            assert n_read == 2 * n
            mb = n_bytes / 1e6
            rates = (
                f"{name} {mb / t:,.0f} ({t / seconds:.2f})" for name, t in (("alone", alone), ("both", both), ("kept", keeping))
            )
            print(f"loader {mb / seconds:,.0f} MB/s; loop, and ratio to it: {', '.join(rates)}", end="; ")
            print(f"opened in {opened:.2f} s, {requests} requests, {moved / n_bytes:.3f} of the bytes", end="; ")
            print(f"second epoch {second:.2f} s, {counts()[0]} requests")
        local.close()


if __name__ == "__main__":
    main()
