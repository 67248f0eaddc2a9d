"""A recipe: one YAML file that says how a student is made. Unknown keys are errors."""

from __future__ import annotations

import difflib
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import ErrorDetails

from distill.losses import LossWeights
from distill.mixing import MixSettings
from distill.unet import PRESETS, UNetConfig, preset
from runtime.stft import StftContract
from targets.errors import InputError

DEFAULT = "demo"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(_Section):
    """How long and how fast one network is trained (AdamW, warm-up then cosine to zero)."""

    steps: PositiveInt
    batch: PositiveInt = 16
    learning_rate: PositiveFloat = 2e-3
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    weight_decay: NonNegativeFloat = 0.01
    clip: PositiveFloat = 5.0


class Teacher(_Section):
    """A checkpoint folder, or a network to be trained first."""

    checkpoint: Path | None = None
    network: UNetConfig | str = "teacher"
    training: Training = Training(steps=2000)


class Student(_Section):
    network: UNetConfig | str = "small"
    training: Training = Training(steps=4000)


class Distillation(_Section):
    """Method and its weight beside the denoising loss; ``method: none`` is the student alone."""

    method: Literal["cosine-latent", "none"] = "cosine-latent"
    weight: NonNegativeFloat = 1.0


class Evaluation(_Section):
    """The closing table: mixtures held out of the corpus, or pairs in ``noisy/`` and ``clean/``."""

    pairs: Path | None = None
    items: PositiveInt = 24
    seconds: PositiveFloat = 4.0


class Recipe(_Section):
    """Everything a run depends on. ``control`` also trains the student alone, for the table."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    data: str = "demo"
    contract: StftContract = StftContract()
    mixing: MixSettings = MixSettings()
    loss: LossWeights = LossWeights()
    teacher: Teacher = Teacher()
    student: Student = Student()
    distillation: Distillation = Distillation()
    control: bool = True
    evaluation: Evaluation = Evaluation()
    seed: NonNegativeInt = 0

    @property
    def training_sha256(self) -> str:
        """Hash of what decides the weights: neither name nor path of the data, nor the table."""
        decides = self.model_dump(
            mode="json",
            exclude={"name": True, "data": True, "control": True, "evaluation": True}
            | {"teacher": {"checkpoint"}},
        )
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Hash of the resolved recipe: two runs with the same hash repeat each other."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def resolve_network(network: UNetConfig | str) -> tuple[str, UNetConfig]:
    """Name and sizes of a preset name or a custom network."""
    return (network, preset(network)) if isinstance(network, str) else ("custom", network)


def builtin_recipes() -> list[str]:
    folder = resources.files("distill") / "recipes"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str) -> Recipe:
    """A recipe file, or a built-in one by name; raises InputError with the key that is wrong."""
    if source in builtin_recipes():
        text = (resources.files("distill") / "recipes" / f"{source}.yaml").read_text("utf-8")
    else:
        path = Path(source)
        if not path.is_file():
            raise InputError(
                f"No recipe {source!r}: neither a file nor a built-in one.",
                hint=f"Built in: {', '.join(builtin_recipes())}.",
            )
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{source} is not a text file.", hint="Recipes are YAML.") from error
    return parse_recipe(text, source)


def parse_recipe(text: str, source: str) -> Recipe:
    """Validate YAML text; ``source`` names it in messages."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _not_yaml(error, source) from error
    if not isinstance(content, dict):
        raise InputError(f"{source} holds no recipe.", hint="It should map keys to values.")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        # A misspelt key comes first: that a required one is missing follows from it.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise _explain(problems[0], source) from error
    for network in (recipe.teacher.network, recipe.student.network):
        resolve_network(network)
    return recipe


def _not_yaml(error: yaml.YAMLError, source: str) -> InputError:
    """One sentence of the parser's report, which spreads over several lines."""
    problem, place = str(error).partition("\n")[0], ""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        problem = error.problem or problem
        place = f", line {error.problem_mark.line + 1}"
    return InputError(
        f"{source} is not valid YAML{place}: {problem}.",
        hint="Check indentation, brackets and quotes there.",
    )


def _explain(problem: ErrorDetails, source: str) -> InputError:
    # Of a union pydantic names the branch it tried ("str", "function-after[…]"): no key of ours.
    path = [str(part) for part in problem["loc"]]
    where = ".".join(part for part in path if part != "str" and not part.startswith("function-"))
    if problem["type"] != "extra_forbidden":
        known = f" Presets: {', '.join(sorted(PRESETS))}." if "network" in where else ""
        return InputError(f"{source}: {where or 'recipe'}: {problem['msg']}.", hint=known.strip())
    known_keys = _keys_at(Recipe, path[:-1])
    key = path[-1]
    close = difflib.get_close_matches(key, known_keys, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(known_keys)}."
    return InputError(f"{source}: unknown key {where!r}.", hint=hint)


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the section that ``path`` leads to."""
    for part in path:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            options = get_args(annotation) if get_origin(annotation) else (annotation,)
            sections = [x for x in options if isinstance(x, type) and issubclass(x, BaseModel)]
            if sections:
                model = sections[0]
    return sorted(model.model_fields)
