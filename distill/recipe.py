"""A recipe: one YAML file that says how a student is made. Unknown keys are errors."""

from __future__ import annotations

import difflib
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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
    model_validator,
)
from pydantic_core import ErrorDetails

from distill.bands import check_bands
from distill.losses import LossWeights
from distill.methods import NAMES
from distill.methods.settings import CosineLatentSettings, MethodSettings
from distill.mixing import MixSettings
from distill.teachers.sources import KINDS, ModuleSource, OnnxSource
from distill.unet import PRESETS, UNetConfig, preset
from runtime.contract import ContractField, StftContract
from runtime.models import open_model
from targets.errors import InputError

DEFAULT = "demo"
EXPLAINED = "The manual explains every key: docs/distill.md."


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(_Section):
    """How long and how fast one network is trained (AdamW, warm-up then cosine to zero).

    ``batch`` counts the mixtures of one step over all processes, each of which cuts its share into
    ``accumulate`` pieces. ``ema`` is the decay per step of the averaged weights that are kept (0:
    none). With ``validate_every`` (steps) the weights that scored best on the validation split
    are kept; with ``patience`` training ends after so many validations without a better score.
    """

    steps: PositiveInt
    batch: PositiveInt = 16
    learning_rate: PositiveFloat = 2e-3
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    weight_decay: NonNegativeFloat = 0.01
    clip: PositiveFloat = 5.0
    accumulate: PositiveInt = 1
    precision: Literal["float32", "bf16"] = "float32"
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    validate_every: NonNegativeInt = 0
    validation_items: PositiveInt = 24
    patience: NonNegativeInt = 0

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.patience and not self.validate_every:
            raise ValueError("patience needs validate_every")
        if self.batch % self.accumulate:
            raise ValueError("batch must be divisible by accumulate")
        return self


class _Trained(_Section):
    """Weights that exist: those of a checkpoint folder, or of a shipped model by its name."""

    checkpoint: Path | None = None
    model: str | None = None

    @property
    def folder(self) -> Path | None:
        """The checkpoint folder that is named, or None.

        Raises InputError where no model of that name is shipped, or it is damaged.
        """
        return self.checkpoint if self.model is None else open_model(self.model).checkpoint()


class Teacher(_Trained):
    """Where the teacher comes from: a checkpoint folder, a shipped model, a torch module, an ONNX
    file; or a network of ours to be trained first. ``cache`` keeps what it made of each mixture."""

    module: ModuleSource | None = None
    onnx: OnnxSource | None = None
    network: UNetConfig | str = "teacher"
    training: Training = Training(steps=2000)
    cache: Path | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Teacher:
        if sum(getattr(self, kind) is not None for kind in KINDS) > 1:
            raise ValueError(f"name one of {', '.join(KINDS)}")
        return self

    @property
    def given(self) -> bool:
        """Whether the teacher exists already."""
        return any(getattr(self, kind) is not None for kind in KINDS)


class Student(_Trained):
    """A network to be trained from the seed, or from the weights of a checkpoint or a shipped
    model."""

    network: UNetConfig | str = "small"
    training: Training = Training(steps=4000)

    @model_validator(mode="after")
    def _one_start(self) -> Student:
        if self.checkpoint is not None and self.model is not None:
            raise ValueError("name one of checkpoint, model")
        return self


class Distillation(_Section):
    """Methods beside the denoising loss; none at all is the student alone.

    ``joint`` adds them up. ``two-step`` trains ``first_share`` of the steps on the methods only
    and the rest on the denoising loss only. A single method may be written without the list:
    ``{method: cosine-latent, weight: 0.1}``.
    """

    methods: tuple[MethodSettings, ...] = (CosineLatentSettings(weight=0.1),)
    schedule: Literal["joint", "two-step"] = "joint"
    first_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5

    @model_validator(mode="before")
    @classmethod
    def _single(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "method" not in content:
            return content
        if "methods" in content:
            raise ValueError("write either method or methods")
        own = {key: value for key, value in content.items() if key in cls.model_fields}
        single = {key: value for key, value in content.items() if key not in own}
        return {**own, "methods": [] if single == {"method": "none"} else [single]}


class Evaluation(_Section):
    """The closing table: mixtures held out of the corpus, or pairs in ``noisy/`` and ``clean/``."""

    pairs: Path | None = None
    items: PositiveInt = 24
    seconds: PositiveFloat = 4.0


# Where a teacher lies; what is there enters a run's identity by its content.
_TEACHER_PLACES: dict[str, Any] = {
    "checkpoint": True,
    "model": True,
    "cache": True,
    "module": {"weights"},
    "onnx": {"model"},
}


class Recipe(_Section):
    """Everything a run depends on. ``control`` also trains the student alone, for the table."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    data: str = "demo"
    contract: ContractField = StftContract()
    mixing: MixSettings = MixSettings()
    loss: LossWeights = LossWeights()
    teacher: Teacher = Teacher()
    student: Student = Student()
    distillation: Distillation = Distillation()
    control: bool = True
    evaluation: Evaluation = Evaluation()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0  # one word of numpy's SeedSequence

    @property
    def training_sha256(self) -> str:
        """Hash of what decides the weights: neither name nor path of the data, nor the table."""
        decides = self.model_dump(
            mode="json",
            exclude={"name": True, "data": True, "control": True, "evaluation": True}
            | {"teacher": _TEACHER_PLACES, "student": {"checkpoint", "model"}}
            | {"mixing": {"rooms": {"cache"}}},
        )
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Hash of the resolved recipe: two runs with the same hash repeat each other."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def resolve_network(
    network: UNetConfig | str, contract: StftContract | None = None
) -> tuple[str, UNetConfig]:
    """Name and sizes of a preset name or a custom network, its bins those of the contract.

    A custom network that names its bins, or bands that name their spacing, keep them. Raises
    InputError where they do not fit.
    """
    name, config = (network, preset(network)) if isinstance(network, str) else ("custom", network)
    if contract is None:
        return name, config
    sizes = config.model_dump(exclude_unset=True)
    if "bins" not in config.model_fields_set:
        sizes["bins"] = contract.bins
    if config.bands is not None:
        sizes["bands"].setdefault("bin_hz", contract.sample_rate / contract.fft_size)
    try:
        fitted = UNetConfig.model_validate(sizes)
    except ValidationError as error:
        raise InputError(
            f"A network of {len(config.widths)} levels does not divide the contract's "
            f"{contract.bins} bins.",
            hint="Choose fewer levels, a smaller patch or a contract with more bins.",
        ) from error
    check_bands(fitted.bands, contract)
    return name, config if fitted == config else fitted


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
        resolve_network(network, recipe.contract)
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
    if problem["type"] == "union_tag_invalid":
        return _unknown_method(str(problem["ctx"]["tag"]), f"{source}: {where}")
    if problem["type"] != "extra_forbidden":
        known = f"Presets: {', '.join(sorted(PRESETS))}." if "network" in where else EXPLAINED
        said = problem["msg"].removeprefix("Value error, ")
        return InputError(f"{source}: {where or 'recipe'}: {said}.", hint=known)
    known_keys = _keys_at(Recipe, path[:-1])
    key = path[-1]
    close = difflib.get_close_matches(key, known_keys, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(known_keys)}."
    return InputError(f"{source}: unknown key {where!r}.", hint=hint)


def _unknown_method(name: str, where: str) -> InputError:
    if name == "none":  # it is no method among others, and takes no option
        return InputError(
            f"{where}: `none` stands alone, without other methods and options.",
            hint="Write `distillation: {method: none}`, or `methods: []`.",
        )
    close = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(NAMES)}."
    return InputError(f"{where}: no method {name!r}.", hint=hint)


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the section that ``path`` leads to; of a union, the member it names."""
    candidates: list[type[BaseModel]] = [model]
    for part in path:
        fields = [c.model_fields[part].annotation for c in candidates if part in c.model_fields]
        if fields:
            candidates = [section for field in fields for section in _sections(field)]
        else:
            named = [c for c in candidates if part in _tags(c)]
            candidates = named or candidates
    return sorted(candidates[0].model_fields) if candidates else []


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections an annotation may hold, through unions, tuples and ``Annotated``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """The values of ``method`` that a member of the methods' union answers to."""
    field = model.model_fields.get("method")
    return get_args(field.annotation) if field is not None else ()
