"""Hand-over of batches to Keras and its backends.

`keras` has the loader that `fit`, `evaluate` and `predict` take. It is one of Keras' data adapters (`data_adapter`), or, where
Keras does not have that class, a `PyDataset` (`py_dataset`); both build on `keras_base`. `predict` averages ten crops.
`tensorflow`, `jax` and `torch` turn a batch into tensors without a copy. `mirrored` serves `tf.distribute.MirroredStrategy`.
Nothing is imported here, because each module imports its framework.
"""
