"""How long a recipe will train on this machine: a few steps of every network, timed."""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict

from distill.recipe import Recipe, Training
from distill.road import Role, distil

TIMED_STEPS = 4  # the first one waits for mixtures and warms up: it is left out


class TrainingTime(BaseModel):
    """One network of a recipe; ``seconds`` for all its steps, validation not counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    steps: int
    seconds_per_step: float

    @property
    def seconds(self) -> float:
        return self.steps * self.seconds_per_step


def time_training(recipe: Recipe) -> list[TrainingTime]:
    """Train every network of ``recipe`` for some steps in a folder that is deleted again.

    Raises InputError for whatever would keep the recipe from running.
    """
    plans: dict[Role, Training] = {
        "teacher": recipe.teacher.training,
        "control": recipe.student.training,
        "student": recipe.student.training,
    }
    moments: dict[Role, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="sordino-") as folder:
        for event in distil(_shortened(recipe), Path(folder)):
            moments.setdefault(event.role, []).append(time.perf_counter())
    return [
        TrainingTime(
            role=role,
            steps=plans[role].steps,
            seconds_per_step=median(b - a for a, b in pairwise(times)),
        )
        for role, times in moments.items()
    ]


def _shortened(recipe: Recipe) -> Recipe:
    """The recipe with a few steps, without validation and without a lasting cache."""
    few = {"steps": TIMED_STEPS, "validate_every": 0, "patience": 0}

    def short(plan: Training) -> Training:
        return plan.model_copy(update=few)

    return recipe.model_copy(
        update={
            "teacher": recipe.teacher.model_copy(
                update={"training": short(recipe.teacher.training), "cache": None}
            ),
            "student": recipe.student.model_copy(
                update={"training": short(recipe.student.training)}
            ),
        }
    )
