"""TFLite's operators, one function each: ``(model, operator) -> Lowered``."""
