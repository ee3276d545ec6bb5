"""tf.data from memory: the images are one tensor, each is cropped by a parallel map, shuffled.

Crops are cut from uint8 before anything else. Map and batch are fused, which saves a copy, and order need not be kept.

Random-resized crops are tf.image.crop_and_resize: bilinear, not antialiased, straight from the images to float32, and mirrored
where its box has the right side first.
"""

from __future__ import annotations

import math

import boxes
from check import MEANS, SIZE
from protocol import CROPS, Options, run


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

    def box():
        area = height * width * tf.random.uniform((boxes.TRIES,), *boxes.SCALE)
        ratio = tf.exp(tf.random.uniform((boxes.TRIES,), math.log(boxes.RATIO[0]), math.log(boxes.RATIO[1])))
        tried = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))
        fits = tf.reduce_all(tried <= (height, width), axis=1)
        sides = tf.where(tf.reduce_any(fits), tried[tf.argmax(fits)], (height, width))
        return tf.floor(tf.random.uniform((2,)) * ((height, width) - sides + 1)), sides

    def resized_crop(number):
        start, sides = box()
        half = sides / (2 * boxes.SIZE)  # the operation wants the centres of the first pixel and of the last one
        last = tf.constant([height - 1, width - 1], tf.float32)
        first, final = (tf.clip_by_value(at / last, 0, 1) for at in (start + half - 0.5, start + sides - half - 0.5))
        if options.mirror and tf.random.uniform(()) < 0.5:
            x0, x1 = final[1], first[1]
        else:
            x0, x1 = first[1], final[1]
        corners = tf.stack([first[0], x0, final[0], x1])
        crop = tf.image.crop_and_resize(images, corners[None], tf.cast(number, tf.int32)[None], (boxes.SIZE, boxes.SIZE))
        return crop[0] - MEANS, number

    settings = tf.data.Options()
    settings.deterministic = False
    settings.threading.private_threadpool_size = options.threads
    settings.experimental_optimization.map_and_batch_fusion = True
    job = ten_crop if options.ten else resized_crop if options.resized else random_crop
    dataset = tf.data.Dataset.range(n_images).shuffle(n_images)
    dataset = dataset.map(job, num_parallel_calls=options.threads)
    dataset = dataset.batch(options.batch).prefetch(2).with_options(settings)
    return lambda: dataset


if __name__ == "__main__":
    run(make, "tf.data from memory", packages=["tensorflow"], crops=CROPS, note="shuffled, everything in memory")
