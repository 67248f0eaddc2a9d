"""Recipes: validation, suggestions and identity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from distill.recipe import Recipe, builtin_recipes, load_recipe, parse_recipe, resolve_network
from runtime.stft import StftContract
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
        "a: b: c",
        "!!python/object/apply:os.getpid []",
        "name: x\nstudent: {network: {bins: 250}}",
        "name: x\nmixing: {snr_db: [5, -5]}",
        "name: x\ndistillation: {method: telepathy}",
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


def _leaves(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not StftContract:
            yield from _leaves(inner)
        else:
            yield name


def test_the_manual_knows_every_key_and_its_example_is_a_recipe(repository: Path) -> None:
    manual = (repository / "docs" / "distill.md").read_text("utf-8")
    assert [key for key in _leaves(Recipe) if not re.search(rf"[`.]{key}[`.]", manual)] == []
    example = re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)
    assert example is not None
    assert parse_recipe(example[1], "docs/distill.md").mixing.reverb_probability == 0.3
