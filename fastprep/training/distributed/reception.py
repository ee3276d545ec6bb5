"""Rank 0 at the meeting of the ranks: it hears all who connect side by side, and strangers can't end, fill or delay it.

Any program that reaches the port may connect. Until a connection has said, in one short line, that it is a rank of this cluster,
it is a stranger: there is room for a few of them at a time, each has two seconds, and the oldest leaves when another one comes.
Only who has proved to know the secret of the run can end it; without a secret, a problem is told to who has it, and remembered.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from fastprep.system import printable
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.secret import VARIABLE, proof, proves

_HELLO_S = 2.0  # seconds for the first message of a connection
_LEAVE_S = 10.0  # seconds for all ranks to read the answer and close
_STRANGERS = 64  # connections that are open at a time and are not known as ranks
_SHORTAGE_S = 0.05  # seconds to wait where the process may open nothing more
_TICK_S = 0.1  # seconds between looks at the clock
_NONCE = 64  # characters of what a rank draws for its connection
_THEIRS = 400  # characters of a foreign cluster that an error shows


@dataclass(eq=False)
class _Visitor:
    """A connection, and what is known about it."""

    connection: socket.socket
    challenge: str = field(default_factory=lambda: secrets.token_hex(16))
    nonce: str = ""
    since: float = field(default_factory=time.monotonic)
    received: bytearray = field(default_factory=bytearray)
    rank: int | None = None
    is_told: bool = False


class Reception:
    """The port at which rank 0 waits for all others.

    Parameters
    ----------
    cluster : Cluster
    server : socket
        Socket that listens at the port of rank 0.
    secret : bytes or None
        What the ranks have to prove that they know; None if whoever names the cluster is taken for a rank.
    """

    def __init__(self, cluster: Cluster, server: socket.socket, secret: bytes | None) -> None:
        self._cluster, self._server, self._secret = cluster, server, secret
        self._longest = 2 * len(json.dumps(cluster.workers)) + 4096  # bytes of a first message
        self._strangers: list[_Visitor] = []  # the oldest first
        self._ranks: dict[int, _Visitor] = {}
        self._problem: str | None = None
        self._remark = ""  # what no proof confirms
        server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(server, selectors.EVENT_READ)

    def receive(self, deadline: float, timeout_s: float) -> str | None:
        """Wait for all other ranks, and tell them how it ended.

        Parameters
        ----------
        deadline : float
            Time of `time.monotonic` at which to give up.
        timeout_s : float
            Seconds that this means, for the text.

        Returns
        -------
        str or None
            The problem, or None if all have come.
        """
        try:
            problem = self._wait(deadline, timeout_s)
            self._dismiss(problem)
            return problem
        finally:
            for visitor in [*self._strangers, *self._ranks.values()]:
                visitor.connection.close()
            self._selector.close()

    def _wait(self, deadline: float, timeout_s: float) -> str | None:
        while self._problem is None and len(self._ranks) < self._cluster.world - 1:
            now = time.monotonic()
            if now >= deadline:
                missing = [self._cluster.name(rank) for rank in range(1, self._cluster.world) if rank not in self._ranks]
                return f"{', '.join(missing)} did not come within {timeout_s:g} s (--rank-timeout){self._remark}"
            for visitor in [visitor for visitor in self._strangers if now - visitor.since > _HELLO_S]:
                self._drop(visitor)
            for key, _ in self._selector.select(min(deadline - now, _TICK_S)):
                if key.fileobj is self._server:
                    self._admit()
                else:
                    self._hear(key.data)
        return self._problem

    def _admit(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:  # it has gone, or this process has no descriptor left
            if self._strangers:
                self._drop(self._strangers[0])
            else:
                time.sleep(_SHORTAGE_S)
            return
        connection.setblocking(False)
        visitor = _Visitor(connection)
        self._strangers.append(visitor)
        self._selector.register(connection, selectors.EVENT_READ, visitor)
        if len(self._strangers) > _STRANGERS:
            self._drop(self._strangers[0])
        self._send(visitor, {"what": "fastprep", "challenge": visitor.challenge, "secret": self._secret is not None})

    def _hear(self, visitor: _Visitor) -> None:
        """Take what a connection has sent; a rank that has reported sends nothing more, so this is its end."""
        if visitor.connection.fileno() < 0:
            return  # dropped a moment ago
        try:
            part = visitor.connection.recv(self._longest)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        visitor.received += part
        if not part or visitor.rank is not None or visitor.is_told or len(visitor.received) > self._longest:
            self._drop(visitor)
        elif visitor.received.endswith(b"\n"):
            self._judge(visitor)

    def _judge(self, visitor: _Visitor) -> None:
        hello = _read_hello(bytes(visitor.received))
        if hello is None:
            self._drop(visitor)
            return
        rank, workers, visitor.nonce, given = hello
        if self._secret and not proves(given, self._secret, "hello", visitor.challenge, visitor.nonce, rank, workers):
            self._remark = f"; some who came did not prove to know the secret ({VARIABLE} must be the same for all ranks)"
            self._drop(visitor)
            return
        ours = list(self._cluster.workers)
        if workers != ours:
            theirs = ", ".join(workers)
            theirs = printable(theirs if len(theirs) <= _THEIRS else f"{theirs[:_THEIRS]}...")
            self._object(visitor, f"rank {rank} has another cluster in TF_CONFIG: {theirs}; rank 0 has {', '.join(ours)}")
        elif rank in self._ranks or rank == 0:
            self._object(visitor, f"rank {rank} is there twice: every process needs an index of its own in TF_CONFIG")
        elif 0 < rank < self._cluster.world:
            visitor.rank = rank
            self._strangers.remove(visitor)
            self._ranks[rank] = visitor
        else:
            self._drop(visitor)

    def _object(self, visitor: _Visitor, problem: str) -> None:
        """Tell a connection its problem, which ends the run only if it comes from someone who knows the secret."""
        visitor.is_told = True
        self._send(visitor, self._answer(visitor, problem))
        if self._secret:
            self._problem = problem
        else:
            self._remark = f"; {problem}"

    def _answer(self, visitor: _Visitor, problem: str | None) -> dict[str, Any]:
        given = proof(self._secret, "answer", visitor.challenge, visitor.nonce, problem) if self._secret else None
        return {"said": problem, "proof": given}

    def _send(self, visitor: _Visitor, message: dict[str, Any]) -> None:
        try:
            visitor.connection.send(json.dumps(message).encode() + b"\n")  # it fits into the buffer of a new connection
        except OSError:
            self._drop(visitor)

    def _drop(self, visitor: _Visitor) -> None:
        if visitor.connection.fileno() < 0:
            return
        if visitor.rank is None:
            self._strangers.remove(visitor)
        else:
            del self._ranks[visitor.rank]
        self._selector.unregister(visitor.connection)
        visitor.connection.close()

    def _dismiss(self, problem: str | None) -> None:
        """Answer all ranks, and let them close: the side that closes first keeps its port busy."""
        ranks = list(self._ranks.values())
        for visitor in ranks:
            self._send(visitor, self._answer(visitor, problem))
        until = time.monotonic() + _LEAVE_S
        for visitor in ranks:
            with contextlib.suppress(OSError):
                visitor.connection.settimeout(max(0.001, until - time.monotonic()))
                visitor.connection.recv(1)


def _read_hello(line: bytes) -> tuple[int, list[str], str, Any] | None:
    """Return rank, workers, nonce and proof of the process that has sent a line; None if it is not one of fastprep."""
    try:
        hello = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(hello, dict) or hello.get("what") != "fastprep":
        return None
    rank, workers, nonce = hello.get("rank"), hello.get("workers"), hello.get("nonce", "")
    if type(rank) is not int or not -1 <= rank < 1 << 31:
        return None
    if not isinstance(workers, list) or not all(isinstance(worker, str) for worker in workers):
        return None
    if not isinstance(nonce, str) or len(nonce) > _NONCE:  # proofs are made of it, so it must be nothing that JSON can't hold
        return None
    return rank, workers, nonce, hello.get("proof")
