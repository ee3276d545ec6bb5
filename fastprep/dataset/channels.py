"""The channels of images that become channels of a batch, by number or by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastprep.h5 import Metadata

Channels = str | Sequence[int | str]


def pick_channels(channels: Channels | None, channel_order: str | None, n_channels: int) -> tuple[int, ...] | None:
    """Turn the argument `channels` of `Loader` into numbers.

    Parameters
    ----------
    channels : str, sequence of int or of str, or None
        Numbers from 0, or letters of `channel_order`.
    channel_order : str or None
        A letter for each channel of the images, if the file names them.
    n_channels : int
        Number of channels of the images.

    Returns
    -------
    tuple of int, or None
        Numbers of the channels in the file; None for all channels as they are.

    Raises
    ------
    ValueError
        If `channels` is not as above, or there are no such channels.
    """
    if channels is None:
        return None
    return tuple(_number(channel, channels, channel_order, n_channels) for channel in _listed(channels))


def picked_metadata(metadata: Metadata, picked: tuple[int, ...] | None) -> Metadata:
    """Return metadata of images of which some channels are picked: mean, covariance and channel order are theirs."""
    if picked is None:
        return metadata
    mean, order = metadata.mean, metadata.channel_order
    mean = None if mean is None else mean[list(picked)]
    covariance = None if metadata.covariance is None else metadata.covariance[np.ix_(picked, picked)]
    is_named = order is not None and max(picked) < len(order)
    named = "".join(order[k] for k in picked) if order and is_named else None
    return replace(metadata, mean=mean, covariance=covariance, channel_order=named)


def _listed(channels: object) -> list[object]:
    listed = list(channels) if isinstance(channels, Sequence | np.ndarray) else []
    if not listed or isinstance(channels, bytes):
        raise ValueError(f"channels must be a list of numbers or names of channels, such as [0, 1, 2] or 'RGB', got {channels!r}")
    return listed


def _number(channel: object, channels: object, channel_order: str | None, n_channels: int) -> int:
    if isinstance(channel, str) and not (channel.isascii() and channel.isdigit()):
        if channel_order is None:
            problem = "the file does not name its channels (attribute channel_order): pass numbers"
            raise ValueError(f"channels={channels!r}: {problem}, from 0 to {n_channels - 1}")
        if len(channel) != 1 or channel_order.count(channel) != 1:
            raise ValueError(f"channels={channels!r}: the file has the channels {channel_order!r}, and not one {channel!r}")
        return channel_order.index(channel)
    is_number = isinstance(channel, int | np.integer | str) and not isinstance(channel, bool)
    if not is_number or not 0 <= int(channel) < n_channels:  # type: ignore[call-overload]
        raise ValueError(f"channels must be numbers from 0 to {n_channels - 1}, or names of channels, got {channels!r}")
    return int(channel)  # type: ignore[call-overload]
