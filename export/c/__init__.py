"""Plain C99 from a TFLite file: a static memory plan, constant tables and one call per operator."""
