"""Model files from anyone: checked byte by byte before native code or a generator sees them.

:func:`check_model` is the way in.
"""
