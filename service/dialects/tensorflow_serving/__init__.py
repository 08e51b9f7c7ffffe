"""TensorFlow Serving's REST API, version 1: https://www.tensorflow.org/tfx/serving/api_rest."""

from service.dialects.tensorflow_serving.routes import DIALECT

__all__ = ["DIALECT"]
