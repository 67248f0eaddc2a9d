"""What a comparison of two profiles tolerates: a TOML file, or the policy built in."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.figures import Figure, Provenance
from targets.errors import InputError

SCHEMA: Final = "sordino-policy/1"
LARGEST_POLICY: Final = 1 << 20  # bytes
MOST_RULES: Final = 1000
HINT: Final = "docs/compare.md lists what a rule may say."
BUILT_IN: Final = "built in"

# Counted figures must not get worse at all; timings by no more than a tenth, since two runs of one
# program on one machine differ by some percent. What no rule names is shown and not judged.
DEFAULT: Final = f"""
schema = "{SCHEMA}"

[[rule]]  # bytes counted in the file or by the generator
metric = "*"
class = "exact"
unit = "bytes"
better = "lower"
max_regression_percent = 0
missing = "warn"

[[rule]]
metric = "work per step"
class = "exact"
better = "lower"
max_regression_percent = 0
missing = "warn"

[[rule]]
metric = "algorithmic delay"
class = "exact"
better = "lower"
max_regression_percent = 0
missing = "warn"

[[rule]]  # instructions, stack, flash and RAM of a simulated core: they repeat exactly
metric = "*"
class = "simulated"
better = "lower"
max_regression_percent = 0
missing = "warn"

[[rule]]
metric = "TFLM arena"
better = "lower"
max_regression_percent = 0
missing = "ignore"

[[rule]]
metric = "*, median [*"
class = "measured-host"
unit = "µs"
better = "lower"
max_regression_percent = 10
missing = "warn"

[[rule]]
metric = "*, median [*"
class = "measured-device"
better = "lower"
max_regression_percent = 5
missing = "warn"

[[rule]]  # cycles of an NPU
metric = "*"
class = "modelled"
unit = "cycles"
better = "lower"
max_regression_percent = 0
missing = "warn"
"""


class Rule(BaseModel):
    """Which figures it judges and by how much they may get worse.

    ``metric`` is a figure's name and ``subject`` an artefact's name or format; in both ``*`` stands
    for any text and ``?`` for one character, brackets for themselves. ``unit`` and ``provenance``
    narrow it down. A figure that exceeds either limit got too much worse.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    metric: str = Field(min_length=1, max_length=200)
    subject: str = Field("*", min_length=1, max_length=200)
    unit: str | None = None
    provenance: Provenance | None = Field(None, alias="class")
    better: Literal["lower", "higher"]
    max_regression_percent: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_regression_absolute: float | None = Field(None, ge=0, allow_inf_nan=False)
    missing: Literal["fail", "warn", "ignore"] = "fail"

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.max_regression_percent is None and self.max_regression_absolute is None:
            raise ValueError("give max_regression_percent or max_regression_absolute")
        return self

    def covers(self, artefact: str, format: str, figure: Figure) -> bool:
        """Whether it judges this figure of that artefact."""
        return (
            _matches(self.metric, figure.name)
            and (_matches(self.subject, artefact) or _matches(self.subject, format))
            and self.unit in (None, figure.unit)
            and self.provenance in (None, figure.provenance)
        )

    @property
    def names_one(self) -> bool:
        """Whether ``metric`` is the whole name of a figure, which then has to be there."""
        return not set("*?") & set(self.metric)

    def loss(self, base: float, new: float) -> float:
        """By how much ``new`` is worse, below 0 where it is better."""
        return new - base if self.better == "lower" else base - new

    def tolerates(self, base: float, new: float) -> bool:
        """Whether ``new`` is within both limits, up to the rounding of a float."""
        loss = self.loss(base, new) - 1e-9 * max(abs(base), abs(new))
        percent, absolute = self.max_regression_percent, self.max_regression_absolute
        within = percent is None or loss <= percent / 100.0 * abs(base)
        return within and (absolute is None or loss <= absolute)

    def limit(self, unit: str) -> str:
        """The limits in words: "+10 %", "−5 µs"."""
        sign = "+" if self.better == "lower" else "−"
        parts = []
        if self.max_regression_percent is not None:
            parts.append(f"{sign}{self.max_regression_percent:g} %")
        if self.max_regression_absolute is not None:
            parts.append(f"{sign}{self.max_regression_absolute:,.10g} {unit}".rstrip())
        return ", ".join(parts)


class Policy(BaseModel):
    """Rules in order: the first one that covers a figure judges it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["sordino-policy/1"] = Field(alias="schema")
    rules: tuple[Rule, ...] = Field(alias="rule", min_length=1, max_length=MOST_RULES)
    name: str = Field(BUILT_IN, exclude=True)

    def rule_for(self, artefact: str, format: str, figure: Figure) -> Rule | None:
        return next((rule for rule in self.rules if rule.covers(artefact, format, figure)), None)


def load_policy(path: Path | None = None) -> Policy:
    """The policy in a TOML file, without one that which is built in. Raises InputError."""
    if path is None:
        return parse_policy(DEFAULT, BUILT_IN)
    try:
        if not path.is_file():
            raise InputError(f"There is no policy {path}.", hint="Name a .toml file.")
        with path.open("rb") as file:
            content = file.read(LARGEST_POLICY + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the policy {path}.", hint="Name an existing UTF-8 .toml file."
        ) from error
    if len(content) > LARGEST_POLICY:
        raise InputError(f"{path.name} is too large for a policy.", hint=HINT)
    return parse_policy(text, path.name)


def parse_policy(text: str, label: str) -> Policy:
    """The policy that ``text`` states; ``label`` names it in messages. Raises InputError."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise InputError(f"{label} is not valid TOML: nested too deeply.", hint=HINT) from error
    except ValueError as error:
        raise InputError(f"{label} is not valid TOML: {error}.", hint=HINT) from error
    if "name" in raw:
        raise InputError(f"{label} is no policy: it has no field name.", hint=HINT)
    try:
        return Policy.model_validate({**raw, "name": label})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        told = re.sub(r"^Value error, ", "", first["msg"])
        raise InputError(f"{label} is no policy: {place or 'it'}: {told}.", hint=HINT) from error


def _matches(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` is what ``pattern`` says; in time of no more than the product
    of their lengths, which a regular expression with many stars would not keep to."""
    at = place = 0
    star, behind = -1, 0  # the last star, and where the text behind it was tried to go on
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, behind = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            behind += 1
            at, place = star + 1, behind
        else:
            return False
    return not pattern[at:].strip("*")
