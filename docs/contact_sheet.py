"""Makes crops.png, the image at the top of README.md: python docs/contact_sheet.py, from the clone.

It writes a small file of drawn shapes, and has `python -m fastprep.show --crops` draw what training would see of it. Of the five
rows of random crops, two are kept.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fastprep.h5 import write_images

SIDE, FINER = 160, 4  # pixels of an image; drawn larger and reduced, so that edges are smooth
SHAPES = {"circle": 0, "triangle": 3, "square": 4, "pentagon": 5, "star": 10}  # corners


def shape(rng: np.random.Generator, corners: int) -> np.ndarray:
    """Draw a shape in front of hills; uint8, shape (160, 160, 3)."""
    side = SIDE * FINER
    down = np.linspace(0, 1, side)[:, None, None]
    top, bottom = rng.integers(150, 240, (2, 3))
    image = Image.fromarray(np.broadcast_to(top * (1 - down) + bottom * down, (side, side, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    across = np.arange(side)
    for height, colour in ((0.7, (88, 130, 88)), (0.82, (52, 92, 66))):
        crest = side * (height + 0.06 * np.sin(across / side * rng.uniform(4, 9) + rng.uniform(0, 6)))
        draw.polygon([*zip(across.tolist(), crest.tolist(), strict=True), (side, side), (0, side)], fill=colour)
    y, x = rng.uniform(0.4, 0.6, 2) * side
    radius, turn, colour = rng.uniform(0.2, 0.28) * side, rng.uniform(0, 6), tuple(rng.integers(20, 236, 3).tolist())
    if corners == 0:
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    else:
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        far = radius * np.where((corners == 10) & (np.arange(corners) % 2 == 1), 0.45, 1.2)
        draw.polygon(
            list(zip((x + far * np.cos(angles)).tolist(), (y + far * np.sin(angles)).tolist(), strict=True)), fill=colour
        )
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def keep_rows(sheet: str, path: Path) -> None:
    """Save the heading, the first two of the six rows and the last one, with 128 colours."""
    with Image.open(sheet) as image:
        above, below = round(image.height * 0.345), round(image.height * 0.841)
        kept = Image.new("RGB", (image.width, above + image.height - below), "white")
        kept.paste(image.crop((0, 0, image.width, above)), (0, 0))
        kept.paste(image.crop((0, below, image.width, image.height)), (0, above))
    kept.quantize(128).save(path, optimize=True)


def main() -> None:
    """Write the file and draw it."""
    rng = np.random.default_rng(2)
    labels = np.arange(40) % len(SHAPES)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "shapes.h5")
        corners = list(SHAPES.values())
        images = (shape(rng, corners[label]) for label in labels)
        write_images(path, images, labels, channel_order="RGB", class_names=list(SHAPES))
        sheet = str(Path(folder) / "crops.png")
        subprocess.run(
            [sys.executable, "-m", "fastprep.show", path, "--crops", sheet, "--size", "128", "--seed", "3"], check=True
        )
        keep_rows(sheet, Path(__file__).parent / "crops.png")


if __name__ == "__main__":
    main()
