"""HDF5 files from a folder of images: `config` and `run` for the command, the other modules for its stages."""
