"""How a student becomes artefacts: step graph, calibration, quantization, formats, packing."""
