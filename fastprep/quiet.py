"""Keras, imported without the messages of TensorFlow that concern no user: ``import fastprep.quiet`` before ``import keras``.

What may matter is passed on, such as an error about a GPU that is there. Where Keras is not installed, or was imported before,
this does nothing, and ``TF_CPP_MIN_LOG_LEVEL`` stays as it is if it is set. With another backend TensorFlow is not imported, but
Keras may do so later, when it saves a model, and its messages come then.
"""

import contextlib

from fastprep.cli.keras_startup import start_keras
from fastprep.errors import InputError

with contextlib.suppress(InputError):  # the import of Keras itself says it in the program's place
    start_keras(first_operation=False)
