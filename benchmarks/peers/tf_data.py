"""tf.data from memory: the images are one tensor, each is cropped by a parallel map, shuffled.

Crops are cut from uint8 before anything else. Map and batch are fused, which saves a copy, and order need not be kept.
"""

from __future__ import annotations

from check import MEANS, SIZE
from protocol import Options, run


def make(path, options: Options):
    import h5py
    import tensorflow as tf

    with h5py.File(path, "r") as file:
        images = tf.constant(file["images"][()])
    n_images, height, width, _ = images.shape
    bottom, right = height - SIZE, width - SIZE

    def random_crop(number):
        y = tf.random.uniform((), 0, bottom + 1, tf.int32)
        x = tf.random.uniform((), 0, right + 1, tf.int32)
        crop = tf.slice(images[number], (y, x, 0), (SIZE, SIZE, 3))
        if options.mirror:
            crop = tf.image.random_flip_left_right(crop)
        return tf.cast(crop, tf.float32) - MEANS, number

    def ten_crop(number):
        y, x = bottom // 2, right // 2
        places = [(0, 0), (0, right), (bottom, right), (bottom, 0), (y, x)]
        five = tf.stack([images[number][y : y + SIZE, x : x + SIZE] for y, x in places])
        return tf.cast(tf.concat([five, tf.reverse(five, [2])], 0), tf.float32) - MEANS, number

    settings = tf.data.Options()
    settings.deterministic = False
    settings.threading.private_threadpool_size = options.threads
    settings.experimental_optimization.map_and_batch_fusion = True
    dataset = tf.data.Dataset.range(n_images).shuffle(n_images)
    dataset = dataset.map(ten_crop if options.ten else random_crop, num_parallel_calls=options.threads)
    dataset = dataset.batch(options.batch).prefetch(2).with_options(settings)
    return lambda: dataset


if __name__ == "__main__":
    run(make, "tf.data from memory", packages=["tensorflow"], note="shuffled, everything in memory")
