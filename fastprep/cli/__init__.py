"""Parts that the commands share: running, help texts, progress, plots, and the start of TensorFlow."""
