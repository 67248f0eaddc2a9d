"""Numbers of options."""

from __future__ import annotations

from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A float within limits. click's own lets NaN through, which is neither below nor above."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if number - number != 0.0:  # NaN, or infinity where there is no limit
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number
