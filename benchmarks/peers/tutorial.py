"""The Dogs-vs-Cats tutorial: a slice of the file a batch, then a Python loop over images, in one thread.

From uint8 images; the tutorial's own files are float64 and eight times as large. Its ten crops have a centre crop that is
228 pixels wide and resampled to 227, so they can't be compared with anybody's.
"""

from __future__ import annotations

from check import MEANS, SIZE
from protocol import Options, run


def make(path, options: Options):
    import cv2
    import h5py
    import numpy as np
    from sklearn.feature_extraction.image import extract_patches_2d

    file = h5py.File(path, "r")

    def epoch():
        for first in range(0, len(file["images"]), options.batch):
            batch = []
            for image in file["images"][first : first + options.batch]:
                blue, green, red = cv2.split(image.astype("float32"))
                image = cv2.merge([blue - MEANS[0], green - MEANS[1], red - MEANS[2]])
                patch = extract_patches_2d(image, (SIZE, SIZE), max_patches=1)[0]
                if options.mirror and np.random.random() < 0.5:  # noqa: NPY002 - as Keras' ImageDataGenerator does
                    patch = cv2.flip(patch, 1)
                batch.append(patch)
            yield np.array(batch), range(first, first + len(batch))

    return epoch


if __name__ == "__main__":
    packages = ["h5py", "opencv-python-headless", "scikit-learn"]
    run(make, "the tutorial's pipeline", packages=packages, crops=["random"], note="one thread, file order, uint8 file")
