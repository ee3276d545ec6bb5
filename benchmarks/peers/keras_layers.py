"""Keras' preprocessing layers in tf.data, from memory: RandomCrop, RandomFlip, Normalization.

Of a batch RandomCrop cuts all images at one place. So it is mapped over images, where each gets its own; the other two
take whole batches.
"""

from __future__ import annotations

from check import MEANS, SIZE
from protocol import Options, run


def make(path, options: Options):
    import h5py
    import keras
    import numpy as np
    import tensorflow as tf

    with h5py.File(path, "r") as file:
        images = tf.constant(file["images"][()])
    crop = keras.layers.RandomCrop(SIZE, SIZE)
    whole_batch = [keras.layers.Normalization(mean=MEANS, variance=np.ones(3))]
    if options.mirror:
        whole_batch.append(keras.layers.RandomFlip("horizontal"))

    def finish(batch, numbers):
        for layer in whole_batch:
            batch = layer(batch, training=True) if isinstance(layer, keras.layers.RandomFlip) else layer(batch)
        return batch, numbers

    settings = tf.data.Options()
    settings.deterministic = False
    settings.threading.private_threadpool_size = options.threads
    dataset = tf.data.Dataset.range(len(images)).shuffle(len(images))
    dataset = dataset.map(lambda k: (crop(images[k], training=True), k), num_parallel_calls=options.threads)
    dataset = dataset.batch(options.batch).map(finish, num_parallel_calls=options.threads).prefetch(2).with_options(settings)
    return lambda: dataset


if __name__ == "__main__":
    note = "shuffled, everything in memory"
    why_not = "Keras has no layer for them; of resized crops tf.data from memory has the operation that there is"
    run(make, "Keras layers in tf.data", packages=["keras", "tensorflow"], crops=["random"], why_not=why_not, note=note)
