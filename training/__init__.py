"""Trains the declared models and exports their artifacts. Nothing in service/ imports this."""

import os

# Before any import of TensorFlow: it greets on stderr with its build options unless told not to, and oneDNN
# rounds differently from one CPU to the next. The service computes without it too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ["TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL"] = "false"
