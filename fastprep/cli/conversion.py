"""What a conversion has done, in a line for people."""

from __future__ import annotations

import os

from fastprep.h5.convert import Encoding, Loss, Rewritten


def report(out: str, n_files: int, done: Rewritten, encoding: Encoding | None, layout: str, seconds: float) -> str:
    """Return the line.

    Parameters
    ----------
    out : str
        The file that was written.
    n_files : int
        Number of files that were read.
    done : Rewritten
    encoding : Encoding or None
    layout : str
        How pixels are stored.
    seconds : float
    """
    n, _, _, channels = done.shape
    n_bytes = os.path.getsize(out)
    mean = "mean kept" if done.mean is None else "mean " + " ".join(f"{value:.2f}" for value in done.mean)
    files = f" in {n_files:,} files" if n_files > 1 else ""
    size = "different sizes" if done.had_sizes else f"{done.source.shape[1]}x{done.source.shape[2]}x{channels}"
    read = f"read {n} images of {size}{files} {done.source.stored_dtype}, {done.source.layout}"
    if encoding is None:
        new_size = "" if done.source.shape[1:3] == done.shape[1:3] and not done.had_sizes else f" {done.shape[1]}x{done.shape[2]}"
        wrote = f"uint8{new_size}, {layout}, {mean}"
    else:
        wrote = f"{encoding.words}, {mean}{_kept(done)}{_loss(done.loss)}{_as_pixels(n_bytes, done)}"
    return f"{read}; wrote {out}: {n_bytes / 1e6:,.1f} MB, {wrote}; {seconds:.1f} s"


def _kept(done: Rewritten) -> str:
    return f"; the bytes of {done.n_kept:,} images are unchanged" if done.n_kept else ""


def _loss(loss: Loss | None) -> str:
    if loss is None:
        return ""
    worst = f"{loss.least_psnr:.1f} dB in image {loss.worst}"
    return f"; PSNR {loss.psnr:.1f} dB, at least {worst}, largest difference {loss.largest} of 255"


def _as_pixels(n_bytes: int, done: Rewritten) -> str:
    return f"; as pixels the images take {done.pixel_bytes / 1e6:,.1f} MB ({n_bytes / done.pixel_bytes:.0%} of that)"
