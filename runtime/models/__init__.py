"""Models that travel with sordino: a folder for each, with weights, artefacts and a card.

NAME/card.json   the card, machine-readable     NAME/CARD.md   the same for people
     weights.safetensors  checkpoint.json  log.csv              a checkpoint, as training left it
     NAME-tflite-int8.tflite  .json  NAME-tflite-int16x8.…      artefacts with their sidecars
"""

from runtime.models.card import ModelCard, Precision
from runtime.models.shipped import (
    ShippedModel,
    default_model,
    model_file,
    model_names,
    open_model,
)

__all__ = [
    "ModelCard",
    "Precision",
    "ShippedModel",
    "default_model",
    "model_file",
    "model_names",
    "open_model",
]
