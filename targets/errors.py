"""Errors that reach a person: one sentence of what is wrong, one hint of what to do next.

They live in the topmost package because every other package may import from it.
"""


class SordinoError(Exception):
    """Base of every expected failure. ``exit_code`` is the status of the command that meets it."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(SordinoError):
    """Bad input or usage: a missing file, a wrong format, an unknown key (exit code 2)."""


class GateFailed(SordinoError):
    """A verification gate ran and failed (exit code 1)."""

    exit_code = 1


class GateUnavailable(SordinoError):
    """A gate could not run here, which is not a pass (exit code 3)."""

    exit_code = 3
