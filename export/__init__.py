"""How a student becomes artefacts: step graph, calibration, quantization, formats, verification, packing."""
