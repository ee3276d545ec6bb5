"""The remote files that a process has open, by their names."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from fastprep.remote.object_stores import Facts
from fastprep.remote.remote_file import RemoteFile
from fastprep.system import begin_in_children


class OpenFiles:
    """Open files, each as long as something refers to it. Any number of threads may use them at once."""

    def __init__(self) -> None:
        self._by_name: weakref.WeakValueDictionary[str, RemoteFile] = weakref.WeakValueDictionary()
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.RLock()  # reentrant: a finalizer that runs while it is held may look for a file

    def get(self, name: str) -> RemoteFile | None:
        """Return the file of a name; None if it is not open."""
        return self._by_name.get(name)

    def shared(self, name: str, address: str, settings: object, facts: Facts, make: Callable[[str], RemoteFile]) -> RemoteFile:
        """Return the file of a name, or of one like its address, if it is the wanted one, else a new one, by the first free name.

        A name is given to one file only, whoever asks at the same time: who finds a file by its name reads from it.

        Parameters
        ----------
        name, address : str
        settings : object
            Those by which the file is read.
        facts : Facts
            Size and tag of the wanted version.
        make : callable
            Takes the name of the new file, and returns it.
        """
        with self._lock:
            n = 1
            while (found := self.get(name)) is not None:
                if found.settings == settings and facts == (found.size, found.tag):
                    return found
                n += 1
                name = f"{address}#{n}"  # of another version, or with other settings: perhaps of another server
            file = self._by_name[name] = make(name)
            return file
