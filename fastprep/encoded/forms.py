"""Forms in which images can be encoded anew; what encodes them, with Pillow, is in `encode`."""

from __future__ import annotations

from typing import Literal

from fastprep.encoded.kinds import Kind

Form = Literal["jpeg", "png", "webp", "webp-lossless"]

QUALITY = 90
"""Quality of JPEG and WebP, by default, on a scale from 1 to 100."""

KINDS: dict[Form, Kind] = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "webp-lossless": "WebP"}
"""What the bytes of each form are."""

LOSSY: tuple[Form, ...] = ("jpeg", "webp")
"""Forms that change pixels, and have a quality."""

LONGEST_SIDES: dict[Kind, int] = {"JPEG": 65_500, "WebP": 16_383}
"""Pixels that a side may have, as libjpeg and libwebp say."""
