"""Transform tables at random, of every geometry."""

import numpy as np

from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED, TransformTable

SOURCE = (11, 14)
SIZE = (6, 9)


def random_table(geometry, rng, n_out=8, n_slots=3, source=SOURCE, size=SIZE):
    """Return a table in which every flag that goes with a geometry occurs."""
    (height, width), (h, w) = source, size
    crops = np.zeros((n_out, 4), np.int32)
    crops[:, 0] = rng.integers(0, n_slots, n_out)
    crops[:, 3] = (np.arange(n_out) + rng.integers(0, 8)) % ((MIRRORED | FLIPPED | TRANSPOSED) + 1)
    if geometry == "matrix":
        crops[:, 3] &= MIRRORED | FLIPPED
        angle, scale = rng.uniform(-np.pi, np.pi, n_out), rng.uniform(0.3, 2.5, n_out)
        matrices = np.empty((n_out, 2, 3))
        matrices[:, 0, 0], matrices[:, 0, 1] = scale * np.cos(angle), -scale * np.sin(angle)
        matrices[:, 1, 0], matrices[:, 1, 1] = scale * np.sin(angle), scale * np.cos(angle) + rng.uniform(-0.2, 0.2, n_out)
        middle = np.array([width / 2, height / 2]) + rng.uniform(-3, 3, (n_out, 2))
        matrices[:, :, 2] = middle - matrices[:, :, :2] @ (w / 2, h / 2)
        return TransformTable(crops, matrices=matrices)
    if geometry == "box":
        sides = rng.uniform(0.2, 1, (n_out, 2)) * source
        corners = rng.uniform(0, 1, (n_out, 2)) * (source - sides)
        return TransformTable(crops, boxes=np.hstack([corners, sides]))
    is_turned = (crops[:, 3] & TRANSPOSED) != 0
    crops[:, 1] = rng.integers(0, height - np.where(is_turned, w, h) + 1)
    crops[:, 2] = rng.integers(0, width - np.where(is_turned, h, w) + 1)
    return TransformTable(crops)


def arguments(table, size=SIZE):
    """Return the arguments of the oracle's functions that a table stands for."""
    return {"crops": table.crops, "size": size, "boxes": table.boxes, "matrices": table.matrices}
