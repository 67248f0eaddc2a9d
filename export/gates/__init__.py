"""Numerical gates: each module checks one property of an artefact and returns results."""
