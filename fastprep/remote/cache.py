"""Mirrors in a folder that processes share, or in files without a name; and the bound on what they hold."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from fastprep.remote.mirror import Mirror
from fastprep.remote.records import BLOCK, read_facts
from fastprep.system import begin_in_children, nameless_file

PRIVATE_BYTES = 4 << 30
"""Bound of a cache without a folder, unless another is given."""

MEMORY_BYTES = 256 << 20
"""Bound of what a cache in memory holds, which takes the place of one whose disk is full."""

_SHARE_LEFT = 0.9  # of the bound after blocks were let go of, so that this is not done for every few blocks
_LOOKS = 16  # how often the blocks are counted while the bound's worth of them is fetched


class Cache:
    """Mirrors of remote files, which together hold no more than a bound.

    Parameters
    ----------
    folder : str or None
        None for files without a name, which end with the process.
    n_bytes : int or None
        The bound; None for no bound in a folder, and `PRIVATE_BYTES` without one.
    in_memory : bool
        Have files without a name in memory.
    """

    def __init__(self, folder: str | None, n_bytes: int | None, in_memory: bool = False) -> None:
        self.folder, self.in_memory = folder, in_memory
        self.n_bytes = PRIVATE_BYTES if n_bytes is None and folder is None else n_bytes
        self._own: weakref.WeakSet[Mirror] = weakref.WeakSet()
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
        self._since = 0
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.Lock()

    def mirror(self, base: str, key: str, size: int, tag: str) -> Mirror:
        """Return the mirror of one version of a file, with the blocks that the folder has of it.

        Raises
        ------
        OSError
            If the folder can't be written to.
        """
        facts = {"store": base, "key": key, "size": size, "tag": tag}
        if self.folder is None:
            mirror = Mirror(nameless_file(self.in_memory), nameless_file(self.in_memory), facts, size, is_private=True)
            self._own.add(mirror)
            return mirror
        place, version = _digest(base, key), _digest(tag, str(size))
        folder = Path(self.folder, f"{place}-{_plain(key)}")
        with self._only_one():
            folder.mkdir(exist_ok=True)
            for other in folder.iterdir():
                if not other.name.startswith(version):
                    other.unlink()  # an older version, of which nobody will ask for more; who has it open keeps it
            return Mirror(_open(folder / f"{version}.data"), _open(folder / f"{version}.blocks"), facts, size)

    def grown(self, n_bytes: int) -> None:
        """Take note that so much was fetched; let go of the blocks that were used least lately, if the bound asks for it."""
        if self.n_bytes is None:
            return
        with self._lock:
            self._since += n_bytes
            if self._since < self.n_bytes // _LOOKS:
                return
            self._since = 0
        self.shrink()

    def shrink(self, n_bytes: int | None = None) -> None:
        """Let go of blocks until there are no more than a number of bytes, by default the bound's."""
        bound = self.n_bytes if n_bytes is None else n_bytes
        if bound is None:
            return
        with contextlib.ExitStack() as stack:
            try:
                mirrors = list(self._own) if self.folder is None else self._in_folder(stack)
            except BlockingIOError:
                return  # another process does it at this moment
            found = [mirror.held() for mirror in mirrors]
            total = sum(len(blocks) for blocks, _ in found) * BLOCK
            if total <= bound - bound // _LOOKS:
                return
            used = np.concatenate([used for _, used in found])
            owner = np.repeat(np.arange(len(found)), [len(blocks) for blocks, _ in found])
            blocks = np.concatenate([blocks for blocks, _ in found])
            excess = total - int(bound * _SHARE_LEFT)
            oldest = np.argsort(used, kind="stable")
            while excess > 0 and len(oldest):
                n = -(-excess // BLOCK)  # of which some may be in use, and stay
                chosen, oldest = oldest[:n], oldest[n:]
                for number in np.unique(owner[chosen]):
                    mine = chosen[owner[chosen] == number]
                    excess -= mirrors[number].let_go(blocks[mine]) * BLOCK

    def _in_folder(self, stack: contextlib.ExitStack) -> list[Mirror]:
        stack.enter_context(self._only_one(waits=False))
        mirrors = []
        for table in sorted(Path(self.folder or "").glob("*/*.blocks")):
            with contextlib.suppress(OSError, ValueError):
                descriptor = _open(table)
                facts = read_facts(descriptor)
                if facts is None:
                    os.close(descriptor)
                    continue
                mirror = Mirror(_open(table.with_suffix(".data")), descriptor, facts, facts["size"])
                stack.callback(mirror.close)
                mirrors.append(mirror)
        return mirrors

    @contextlib.contextmanager
    def _only_one(self, waits: bool = True) -> Any:
        """Exclude other processes, and threads, that make mirrors in the folder, or let go of blocks."""
        descriptor = os.open(Path(self.folder or "", "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _plain(key: str) -> str:
    name = key.rpartition("/")[2]
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:64]
