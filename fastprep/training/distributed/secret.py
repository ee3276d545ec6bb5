"""Shared secret of the ranks of a run: whoever meets proves that he knows it, and nobody sends it."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

VARIABLE = "FASTPREP_RANK_SECRET"


def from_environment(environment: Mapping[str, str] = os.environ) -> bytes | None:
    """Return the secret of this run.

    Parameters
    ----------
    environment : mapping of str to str
        Environment variables.

    Returns
    -------
    bytes or None
        None if the variable ``FASTPREP_RANK_SECRET`` is not set or empty: then the ranks meet without proofs.
    """
    return os.fsencode(environment.get(VARIABLE, "")) or None


def proof(secret: bytes, purpose: str, *values: Any) -> str:
    """Return the HMAC-SHA256 of a message, in hexadecimal digits.

    Parameters
    ----------
    secret : bytes
    purpose : str
        Kind of message, so that the proof of one is never that of another.
    *values
        What the message says, and what both sides drew for this connection; anything that JSON can hold.
    """
    return hmac.new(secret, json.dumps([purpose, *values]).encode(), "sha256").hexdigest()


def proves(given: Any, secret: bytes, purpose: str, *values: Any) -> bool:
    """Return whether a value out of a message is the proof of that message, in a time that tells nothing about it."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode("utf-8", "replace"), proof(secret, purpose, *values).encode()
    )
