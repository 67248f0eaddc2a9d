"""Distillation methods, one module each, found by name in one table."""
