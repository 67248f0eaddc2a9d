"""How audio flows through an artefact: STFT, engines, denoiser, benchmarks, metrics, packs."""
