"""A study: one YAML file that spans a grid of scenario × method × seed over a base recipe."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from distill.recipe import Evaluation, Recipe, load_recipe, parse_recipe
from runtime.metrics import BASIC, choose_metrics
from runtime.metrics.scores import NEED_AUDIOGRAM
from targets.errors import InputError

RUNS = "runs"  # folder of the runs in that of a study
NAME = r"^[A-Za-z0-9._-]+$"
# What a scenario may not change: the study itself sets it, or its runs could not be compared.
RESERVED = ("name", "data", "distillation", "control", "evaluation", "seed")
REFERENCES = NOISY, TEACHER = "noisy", "teacher"  # rows of the table that are no method
Kind = Literal["run", "initialisation", "identical"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoiseFloorPlan(_Section):
    """Which cells are run a second time to know by how much runs differ for no reason.

    ``method`` (by default the control) is run again in ``scenarios`` (all) for the first ``seeds``
    seeds: same data in the same order, other initial weights. With ``identical`` one run is also
    repeated without any change, to see whether it comes out the same.
    """

    method: str | None = None
    scenarios: tuple[str, ...] | None = None
    seeds: NonNegativeInt = 2
    identical: bool = True


class Study(_Section):
    """Everything a study depends on.

    The methods are compared with ``control``, and with those in ``against`` in tables of their own.
    """

    name: str = Field(pattern=NAME)
    base: str | dict[str, Any]
    scenarios: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    control: str = "none"
    against: tuple[str, ...] = ()
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2, 3, 4)
    metrics: tuple[str, ...] = BASIC
    evaluation: Evaluation | None = None
    noise_floor: NoiseFloorPlan = NoiseFloorPlan()
    threads: PositiveInt = 1
    device: Literal["cpu", "cuda"] = "cpu"

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        return tuple(range(value)) if isinstance(value, int) and value > 0 else value

    @field_validator("scenarios", "methods", mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        """``name:`` with nothing behind it is a scenario or method without overrides."""
        if not isinstance(value, dict):
            return value
        return {str(name): {} if content is None else content for name, content in value.items()}

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if lacking := [name for name in names if name in NEED_AUDIOGRAM]:
            raise ValueError(f"{lacking[0]} needs an audiogram, which a study does not have")
        try:
            return choose_metrics(names)
        except InputError as error:
            raise ValueError(f"{error.message} {error.hint}") from error

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if not self.scenarios or not self.seeds:
            raise ValueError("a study needs at least one scenario and one seed")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is listed twice")
        if self.control not in self.methods:
            raise ValueError(f"the control {self.control!r} is not among the methods")
        if unknown := [name for name in self.against if name not in self.methods]:
            raise ValueError(f"against: {unknown[0]!r} is not among the methods")
        if self.control in self.against:
            raise ValueError("against names the control, with which all are compared anyway")
        _check_names((*self.scenarios, *self.methods))
        if taken := [name for name in self.methods if name in REFERENCES]:
            raise ValueError(f"a method cannot be called {taken[0]!r}: a row of the table is")
        for name, overrides in self.scenarios.items():
            if taken := [key for key in RESERVED if key in overrides]:
                raise ValueError(f"scenario {name!r} may not set {taken[0]!r}")
        plan = self.noise_floor
        if plan.method is not None and plan.method not in self.methods:
            raise ValueError(f"noise_floor.method {plan.method!r} is not among the methods")
        for name in plan.scenarios or ():
            if name not in self.scenarios:
                raise ValueError(f"noise_floor.scenarios: no scenario {name!r}")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of the grid, or the second run of a cell with what is different about it."""

    scenario: str
    method: str
    seed: int
    recipe: Recipe
    kind: Kind = "run"

    @property
    def place(self) -> Path:
        """Where in the study's folder its run lives."""
        method = self.method if self.kind == "run" else f"{self.method}+{self.kind}"
        return Path(RUNS, self.scenario, method, str(self.seed))


def _check_names(names: tuple[str, ...]) -> None:
    """Names become folders."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    for name in names:
        if not name or set(name) - allowed or name.startswith("."):
            raise ValueError(f"{name!r} is no name: use letters, digits, '.', '_' and '-'")


def builtin_studies() -> list[str]:
    folder = resources.files("distill") / "studies"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_study(source: str) -> Study:
    """A study file, or a built-in one by name; raises InputError with the key that is wrong."""
    if source in builtin_studies():
        text = (resources.files("distill") / "studies" / f"{source}.yaml").read_text("utf-8")
        return parse_study(text, source)
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"No study {source!r}: neither a file nor a built-in one.",
            hint=f"Built in: {', '.join(builtin_studies())}.",
        )
    try:
        return parse_study(path.read_text("utf-8"), source)
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not a text file.", hint="Studies are YAML.") from error


def parse_study(text: str, source: str) -> Study:
    """Validate YAML text and every recipe it spans; ``source`` names it in messages."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(
            f"{source} is not valid YAML: {problem}.", hint="Check indentation and brackets."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{source} holds no study.", hint="It should map keys to values.")
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise _explained(error, source) from error
    for _ in cells(study, source):
        pass  # every recipe of the grid is valid
    return study


def _explained(error: ValidationError, source: str) -> InputError:
    # A misspelt key comes first: that a required one is missing follows from it.
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        said = problem["msg"].removeprefix("Value error, ")
        return InputError(f"{source}: {where + ': ' if where else ''}{said}.", hint="")
    sections: dict[str, type[BaseModel]] = {
        "noise_floor": NoiseFloorPlan,
        "evaluation": Evaluation,
    }
    section = sections.get(str(problem["loc"][0]), Study) if len(problem["loc"]) > 1 else Study
    close = difflib.get_close_matches(str(problem["loc"][-1]), section.model_fields, n=1)
    known = f"Known here: {', '.join(section.model_fields)}."
    hint = f"Did you mean {close[0]!r}?" if close else known
    return InputError(f"{source}: unknown key {where!r}.", hint=hint)


def base_recipe(study: Study, source: str = "study") -> Recipe:
    """The recipe all cells start from, with the study's evaluation."""
    if isinstance(study.base, str):
        recipe = load_recipe(study.base)
    else:
        content = {"name": study.name, **study.base}
        recipe = parse_recipe(yaml.safe_dump(content), f"{source}, base")
    if study.evaluation is not None:
        recipe = recipe.model_copy(update={"evaluation": study.evaluation})
    return recipe


def cells(study: Study, source: str = "study") -> Iterator[Cell]:
    """Every run of the grid: all methods of a seed and its repeats before the next seed.

    A study that is stopped half-way so has whole seeds to compare. Raises InputError naming the
    scenario or method whose overrides make no recipe.
    """
    recipes = {
        (scenario, method): _cell_recipe(study, scenario, method, source)
        for scenario in study.scenarios
        for method in study.methods
    }
    plan = study.noise_floor
    again = plan.method or study.control
    places = tuple(study.scenarios) if plan.scenarios is None else plan.scenarios
    for number, seed in enumerate(study.seeds):
        for (scenario, method), recipe in recipes.items():
            yield Cell(scenario, method, seed, _named(recipe, study, scenario, method, seed))
        repeats: list[tuple[str, Kind]] = []
        if number < plan.seeds:
            repeats += [(scenario, "initialisation") for scenario in places]
        if number == 0 and plan.identical:
            repeats.append((next(iter(study.scenarios)), "identical"))
        for scenario, kind in repeats:
            recipe = recipes[scenario, again]
            if kind == "initialisation" and recipe.student.folder is not None:
                raise InputError(
                    f"{source}: a student that starts from a checkpoint has no other start.",
                    hint="Set noise_floor.seeds to 0, or let noise_floor name other scenarios.",
                )
            named = _named(recipe, study, scenario, again, seed)
            yield Cell(scenario, again, seed, named, kind)


def _named(recipe: Recipe, study: Study, scenario: str, method: str, seed: int) -> Recipe:
    name = f"{study.name}.{scenario}.{method}.{seed}"
    return recipe.model_copy(update={"name": name, "seed": seed})


def _cell_recipe(study: Study, scenario: str, method: str, source: str) -> Recipe:
    """Base, then the scenario's overrides, then the method as its whole distillation section."""
    base = base_recipe(study, source).model_dump(mode="json", exclude_unset=True)
    content = merged(base, study.scenarios[scenario])
    content["distillation"] = study.methods[method] or {"method": method}
    content["control"] = False
    text = json.dumps(content)  # JSON is YAML
    return parse_recipe(text, f"{source}, scenario {scenario}, method {method}")


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides``: mappings are merged key by key, all else is replaced."""
    result = dict(base)
    for key, value in overrides.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result
