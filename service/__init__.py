"""Serves small tabular models from TensorFlow SavedModels over HTTP."""
