"""Distillation methods, one module each, found by name in one table."""

from distill.methods.alignment import NAMES, Alignment, build_alignment, wanted_taps
from distill.methods.settings import MethodSettings, TapPair

__all__ = ["NAMES", "Alignment", "MethodSettings", "TapPair", "build_alignment", "wanted_taps"]
