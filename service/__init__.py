"""Serves small tabular models from TensorFlow SavedModels over HTTP."""

__version__ = "0.1.0"
