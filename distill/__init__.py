"""How a student is made: corpora, mixing, streaming layers, distillation and training."""
