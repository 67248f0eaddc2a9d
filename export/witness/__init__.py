"""An independent witness: the step graph rebuilt in TensorFlow and converted by TFLiteConverter.

It shares the step graph with the files that sordino writes, and nothing behind it. TensorFlow is
imported by :mod:`export.witness.tensorflow` alone, when something is converted.
"""
