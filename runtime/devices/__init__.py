"""Devices that run an artefact: cores simulated on this machine, and later real ones."""
