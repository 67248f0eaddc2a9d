"""What a model can be asked without its training: every gate that an artefact alone allows."""
