"""Recipes: validation, suggestions and identity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from distill.bands import Bands
from distill.recipe import Recipe, builtin_recipes, load_recipe, parse_recipe, resolve_network
from distill.unet import UNetConfig
from runtime.contract import CONTRACTS
from targets.errors import InputError


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_load(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert resolve_network(recipe.student.network)[1].bins == recipe.contract.bins


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("name: x\nstudnet: {}", "studnet", "'student'"),
        ("name: x\nstudent: {traning: {steps: 1}}", "student.traning", "'training'"),
        ("name: x\nstudent: {training: {steps: 1, lerning_rate: 1}}", "lerning_rate", "'learn"),
        ("name: x\nstudent: {network: {width: [4]}}", "student.network.width", "'widths'"),
        ("name: x\nmixing: {snr: [0, 1]}", "mixing.snr", "'snr_db'"),
        ("name: x\nzzz: 1", "zzz", "Known here"),
        ("name: x\ndistillation: {method: hint, wieght: 1}", "methods.0.hint.wieght", "'weight'"),
        ("name: x\ndistillation: {shedule: joint}", "distillation.shedule", "'schedule'"),
        # Without `steps` a required key is missing as well.
        ("name: x\nstudent: {training: {stesp: 5}}", "student.training.stesp", "'steps'"),
    ],
)
def test_an_unknown_key_is_named_with_a_suggestion(text: str, key: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(text, "my.yaml")
    assert key in caught.value.message
    assert "unknown key" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n- b",
        "name: [unclosed",
        "name: ../escape",
        "name: x\nstudent: {network: enormous}",
        "name: x\nteacher: {training: {steps: -3}}",
        "name: x\nseed: -1",
        "name: x\nseed: 4294967296",
        "a: b: c",
        "!!python/object/apply:os.getpid []",
        "name: x\nstudent: {network: {bins: 250}}",
        "name: x\nmixing: {snr_db: [5, -5]}",
        "name: x\ndistillation: {method: telepathy}",
        "name: x\ndistillation: {method: none, methods: []}",
        "name: x\ndistillation: {methods: [{method: none}]}",
        "name: x\nteacher: {checkpoint: a, onnx: {path: b}}",
        "name: x\nstudent: {training: {steps: 5, patience: 2}}",
        "name: x\ncontract: telephone",
    ],
)
def test_a_bad_recipe_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(text, "my.yaml")
    assert "\n" not in caught.value.message


def test_a_recipe_that_is_not_there_names_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(str(tmp_path / "none.yaml"))
    assert "demo" in caught.value.hint
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError):
        load_recipe(str(binary))


def test_what_only_changes_the_table_does_not_change_the_run() -> None:
    base = parse_recipe("name: x", "a")
    table = parse_recipe("name: y\ncontrol: false\nevaluation: {items: 3}\ndata: other", "b")
    weights = parse_recipe("name: x\nmixing: {seconds: 3}", "c")
    assert base.training_sha256 == table.training_sha256
    assert base.training_sha256 != weights.training_sha256


def test_identity_follows_content() -> None:
    one, two = parse_recipe("name: x", "a"), parse_recipe("name: x\nseed: 0", "b")
    assert one.sha256 == two.sha256
    assert parse_recipe("name: x\nseed: 1", "c").sha256 != one.sha256


# Where each section of a recipe is explained.
PAGES = ("distill", "training", "data", "methods", "teachers", "networks", "contracts")


def _leaves(annotation: Any) -> Iterator[str]:
    """Names of all keys below an annotation, through unions, tuples and sections."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        for part in get_args(annotation):
            yield from _leaves(part)
        return
    for name, field in annotation.model_fields.items():
        inner = list(_leaves(field.annotation))
        yield from inner or [name]


def test_the_manual_knows_every_key_and_its_example_is_a_recipe(repository: Path) -> None:
    pages = {name: (repository / "docs" / f"{name}.md").read_text("utf-8") for name in PAGES}
    text = "\n".join(pages.values())
    assert [key for key in _leaves(Recipe) if not re.search(rf"[`.{{ ]{key}[`.:]", text)] == []
    manual = pages["distill"]
    example = re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)
    assert example is not None
    assert parse_recipe(example[1], "docs/distill.md").mixing.reverb_probability == 0.3


def test_a_misspelt_method_is_named_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="no method 'cosine-latnet'") as caught:
        parse_recipe("name: x\ndistillation: {method: cosine-latnet}", "my.yaml")
    assert "'cosine-latent'" in caught.value.hint
    with pytest.raises(InputError) as caught:
        parse_recipe("name: x\ndistillation: {methods: [{method: qqqq}]}", "my.yaml")
    assert "similarity" in caught.value.hint


@pytest.mark.parametrize("text", ["{methods: [{method: none}]}", "{method: none, weight: 0.1}"])
def test_none_among_methods_says_how_to_ask_for_it(text: str) -> None:
    with pytest.raises(InputError, match="stands alone") as caught:
        parse_recipe(f"name: x\ndistillation: {text}", "my.yaml")
    assert "{method: none}" in caught.value.hint


def test_a_single_method_needs_no_list() -> None:
    text = "name: x\ndistillation: {method: hint, weight: 0.2, schedule: two-step}"
    single = parse_recipe(text, "a").distillation
    assert [(m.method, m.weight) for m in single.methods] == [("hint", 0.2)]
    assert single.schedule == "two-step"
    assert parse_recipe("name: x\ndistillation: {method: none}", "b").distillation.methods == ()


def test_bands_take_their_spacing_from_the_contract() -> None:
    contract = CONTRACTS["hearing-aid"]
    network = UNetConfig(widths=(4, 8), hidden=8, bands=Bands(count=32))
    bands = resolve_network(network, contract)[1].bands
    assert bands is not None
    assert bands.bin_hz == 62.5
    named = network.model_copy(update={"bands": Bands(count=32, bin_hz=31.25)})
    with pytest.raises(InputError, match=r"31\.25 Hz apart"):
        resolve_network(named, contract)


def test_networks_take_their_bins_from_the_contract() -> None:
    contract = CONTRACTS["hearing-aid"]
    for network in ("small", UNetConfig(widths=(4, 8), hidden=8)):
        assert resolve_network(network, contract)[1].bins == contract.bins
    named = UNetConfig(bins=256, widths=(4, 8), hidden=8)
    assert resolve_network(named, contract)[1].bins == 256
    with pytest.raises(InputError, match="does not divide"):
        resolve_network(UNetConfig(widths=(4,) * 7, hidden=8), contract)


@pytest.mark.parametrize("section", ["teacher", "student"])
def test_shipped_weights_and_a_checkpoint_exclude_each_other(section: str) -> None:
    with pytest.raises(InputError, match="name one of checkpoint, model"):
        parse_recipe(f"name: x\n{section}: {{checkpoint: a, model: mcu}}", "my.yaml")


def test_where_weights_lie_does_not_change_the_run() -> None:
    base = parse_recipe("name: x", "a")
    named = parse_recipe("name: x\nteacher: {model: t}\nstudent: {model: s}", "b")
    assert base.training_sha256 == named.training_sha256
    assert named.teacher.given
    assert not base.teacher.given
