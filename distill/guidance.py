"""From a recipe's methods to modules that compare a student with its teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from distill.methods import Alignment, build_alignment, wanted_taps
from distill.objective import Guidance
from distill.processes import world_size
from distill.recipe import Recipe
from distill.taps import tap_paths, tap_shapes
from distill.teachers import Teacher
from distill.views import TapShape
from targets.errors import InputError

Shapes = Callable[[Sequence[str]], Mapping[str, TapShape]]


def guide(recipe: Recipe, student: nn.Module, teacher: Teacher) -> Guidance:
    """Guidance of ``student`` by ``teacher`` in the methods of ``recipe``.

    Raises InputError for taps that do not exist or shapes that cannot be matched.
    """
    alignment, own, taught = _align(recipe, student, teacher.tap_paths(), teacher.tap_shapes)
    plan = recipe.distillation
    first_share = plan.first_share if plan.schedule == "two-step" else None
    return Guidance(teacher, alignment, tuple(own), tuple(taught), first_share)


def check_guidance(recipe: Recipe, student: nn.Module, teacher: nn.Module) -> None:
    """Raise what :func:`guide` would, of a network of ours that is yet to be trained."""
    _align(
        recipe,
        student,
        tap_paths(teacher),
        lambda paths: tap_shapes(teacher, paths, recipe.contract),
    )


def _check_items(recipe: Recipe) -> None:
    """Raise InputError for methods that compare more items than are ever trained on at once."""
    plan = recipe.student.training
    items = plan.batch // (world_size() * plan.accumulate)
    for settings in recipe.distillation.methods:
        if items < settings.least_items:
            raise InputError(
                f"{settings.method} compares {settings.least_items} mixtures of a batch; "
                f"each process and piece has {items}.",
                hint="Raise `student.training.batch`, or choose another method.",
            )


def _align(
    recipe: Recipe, student: nn.Module, teacher_paths: list[str], teacher_shapes: Shapes
) -> tuple[Alignment, list[str], list[str]]:
    methods = recipe.distillation.methods
    _check_items(recipe)
    own, taught = wanted_taps(methods, student, teacher_paths)
    shapes = tap_shapes(student, own, recipe.contract)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build_alignment(methods, shapes, teacher_shapes(taught)), own, taught
