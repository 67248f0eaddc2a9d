"""How a student is made: corpora, mixing, streaming layers, the U-Net family, distillation and training."""
