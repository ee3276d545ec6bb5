"""Hand-over of batches to Keras and its backends.

`keras` has the loader that `fit`, `evaluate` and `predict` take; `predict` averages ten crops; `tensorflow`, `jax` and `torch`
turn a batch into tensors without a copy; `mirrored` serves `tf.distribute.MirroredStrategy`. Nothing is imported here, since each
module brings its framework in.
"""
