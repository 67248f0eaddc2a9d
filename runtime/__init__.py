"""How audio flows through an artefact: STFT contract, engines, denoiser, benchmarks, metrics, packs."""
