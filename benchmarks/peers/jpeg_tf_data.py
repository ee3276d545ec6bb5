"""tf.data: decode_and_crop_jpeg, which decodes a part only, from bytes in memory; a bilinear resize without antialiasing."""

from __future__ import annotations

import math

import boxes
import jpegs
from check import MEANS
from protocol import Options, run


def make(path, options: Options):
    import tensorflow as tf

    rows = tf.constant([row.tobytes() for row in jpegs.rows(path)])
    height, width = jpegs.HEIGHT, jpegs.WIDTH

    def box():
        area = height * width * tf.random.uniform((boxes.TRIES,), *boxes.SCALE)
        ratio = tf.exp(tf.random.uniform((boxes.TRIES,), math.log(boxes.RATIO[0]), math.log(boxes.RATIO[1])))
        tried = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))
        fits = tf.reduce_all(tried <= (height, width), axis=1)
        sides = tf.where(tf.reduce_any(fits), tried[tf.argmax(fits)], (height, width))
        start = tf.floor(tf.random.uniform((2,)) * ((height, width) - sides + 1))
        return tf.cast(tf.concat([start, sides], 0), tf.int32)

    def crop(number):
        part = tf.image.decode_and_crop_jpeg(rows[number], box(), channels=3)
        resized = tf.image.resize(part, (boxes.SIZE, boxes.SIZE))
        return (tf.image.random_flip_left_right(resized) if options.mirror else resized) - MEANS, number

    settings = tf.data.Options()
    settings.deterministic = False
    settings.threading.private_threadpool_size = options.threads
    dataset = tf.data.Dataset.range(len(rows)).shuffle(len(rows)).map(crop, num_parallel_calls=options.threads)
    dataset = dataset.batch(options.batch).prefetch(2).with_options(settings)
    return lambda: dataset


if __name__ == "__main__":
    run(make, "tf.data, decode_and_crop_jpeg", packages=["tensorflow"], crops=["jpeg"], note="shuffled, bytes in memory")
