"""Profiles: what an artefact costs on this machine, on simulated cores and on devices."""
