"""The models that are shipped in this checkout, each held to its card and to its budget."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from distill.checkpoint import Checkpoint, load_checkpoint
from distill.corpus import open_corpus
from distill.mixing import evaluation_items
from distill.recipe import builtin_recipes
from distill.unet import UNet, preset
from runtime.artefact import load_artefact
from runtime.denoiser import denoise_signal
from runtime.metrics import si_sdr
from runtime.models import model_names, open_model
from runtime.models.page import page
from runtime.models.shipped import CARD, PAGE, ROOT
from tests.distill.test_evaluation import save_tiny
from tests.golden.model_cards import look_ahead, macs
from tests.runtime.stand_in import stand_in

MOST_BYTES = 12_000_000  # weights of all models together
NAMES = model_names()
STUDENTS = [name for name in NAMES if name != "teacher"]


class Budget(NamedTuple):
    """What a model may take: work per second, parameters from … to, milliseconds of delay."""

    macs_per_second: float = float("inf")
    parameters: tuple[int, float] = (0, float("inf"))
    delay_ms: float = float("inf")


BUDGETS = {
    "teacher": Budget(parameters=(1_000_000, 4_000_000)),
    "phone": Budget(250e6),
    "mcu": Budget(40e6, (0, 100_000)),
    "nano": Budget(12e6, (0, 40_000)),
    "hearing-aid": Budget(25e6, delay_ms=8.0),
}


def excess(name: str, checkpoint: Checkpoint) -> list[str]:
    """Of which of its budgets a network takes too much (or of parameters too little)."""
    budget, network, contract = BUDGETS[name], checkpoint.network, checkpoint.record.contract
    parameters = sum(parameter.numel() for parameter in network.parameters())
    ahead = look_ahead(network)
    delay = contract.algorithmic_delay + (ahead or 0) * contract.hop
    found = []
    if macs(network) * contract.steps_per_second > budget.macs_per_second:
        found.append("work")
    if not budget.parameters[0] <= parameters <= budget.parameters[1]:
        found.append("parameters")
    if contract.milliseconds(delay) > budget.delay_ms:
        found.append("delay")
    return found


def complaints(name: str) -> list[str]:
    """What about a model's files is not as its card says."""
    model = open_model(name)
    found = [] if model.card.name == name else ["name"]
    for file in model.card.files:
        model.read(file)
    if (model.folder / PAGE).read_text("utf-8") != page(model.card):
        found.append(PAGE)
    present = {path.name for path in model.folder.iterdir()}
    if present != {*(file.file for file in model.card.files), CARD, PAGE}:
        found.append("files")
    return found


def test_the_checks_find_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path / "weights")
    folder = stand_in(tmp_path / "models", "mcu", tmp_path / "weights")
    monkeypatch.setattr("runtime.models.shipped.ROOT", tmp_path / "models")
    assert complaints("mcu") == []
    (folder / PAGE).write_text("of another version")
    (folder / "notes.txt").touch()
    assert complaints("mcu") == [PAGE, "files"]
    small = load_checkpoint(folder)
    large = replace(small, network=UNet(preset("teacher")))
    assert excess("mcu", small) == []
    assert excess("hearing-aid", small) == ["delay"]
    assert excess("teacher", small) == ["parameters"]
    assert excess("nano", large) == ["work", "parameters"]


@pytest.mark.parametrize("name", NAMES)
def test_files_and_page_are_those_of_the_card(name: str) -> None:
    assert complaints(name) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_model_keeps_to_its_budget_and_its_card_says_what_it_is(name: str) -> None:
    model = open_model(name)
    checkpoint = load_checkpoint(model.checkpoint())
    card, network, contract = model.card, checkpoint.network, checkpoint.record.contract
    assert excess(name, checkpoint) == []
    assert card.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert card.macs_per_second == round(macs(network) * contract.steps_per_second)
    assert card.contract == contract
    assert card.look_ahead_frames == look_ahead(network)
    assert card.training.recipe in builtin_recipes()
    assert card.training.recipe_sha256 == checkpoint.record.provenance["recipe_sha256"]


@pytest.mark.parametrize("name", STUDENTS)
def test_every_stored_gate_passed_and_the_artefact_is_of_these_weights(name: str) -> None:
    model = open_model(name)
    weights = load_checkpoint(model.checkpoint()).sha256
    assert set(model.card.precisions) == {"int8", "int16x8"}
    for precision in model.card.precisions:
        sidecar = load_artefact(model.artefact(precision)).sidecar
        assert {gate.verdict for gate in sidecar.gates} == {"pass"}
        assert sidecar.provenance["checkpoint_sha256"] == weights


@pytest.mark.parametrize("name", STUDENTS)
def test_speech_becomes_cleaner(name: str) -> None:
    """On mixtures of synthetic speech, which no shipped model was trained on."""
    corpus = open_corpus("demo")
    artefact = load_artefact(open_model(name).artefact())
    gains = []
    for item in evaluation_items(corpus, corpus.held_out, 3, 3.0, 0):
        denoised = denoise_signal(artefact, None, item.noisy)
        before, after = si_sdr(item.clean, item.noisy), si_sdr(item.clean, denoised)
        assert before is not None
        assert after is not None
        gains.append(after - before)
    assert np.mean(gains) > 1.0


@pytest.mark.parametrize("name", STUDENTS)
def test_every_condition_was_scored_and_every_core_counted(name: str) -> None:
    card = open_model(name).card
    scored = {row.condition for row in card.quality[0].rows if row.items == "all"}
    alone = {"alone"} if card.training.teacher else set()
    assert scored == {"noisy", "float", "int8", "int16x8"} | alone
    assert {row.items for row in card.quality[0].rows} > {"all", "-5 dB", "+15 dB"}
    counted = {cost.name for cost in card.costs if cost.name.startswith("step, median")}
    assert counted == {"step, median [cortex-m4]", "step, median [cortex-m55]"}


def test_all_weights_together_are_small() -> None:
    files = [file for path in ROOT.iterdir() if path.is_dir() for file in path.iterdir()]
    assert sum(file.stat().st_size for file in files if file.suffix == ".safetensors") < MOST_BYTES


def test_models_are_package_data(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["runtime"]
    for name in NAMES:
        for file in (resources.files("runtime") / "models" / name).iterdir():
            place = f"models/{name}/{file.name}"
            assert any(fnmatch(place, pattern) for pattern in patterns), place
    assert not any(fnmatch("models/__pycache__/card.pyc", pattern) for pattern in patterns)


def test_names_are_those_of_the_budgets_and_nothing_else_lies_there() -> None:
    assert set(NAMES) <= set(BUDGETS)
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(NAMES)


def test_what_is_shipped_names_no_place_of_a_machine() -> None:
    for name in NAMES:
        for path in (ROOT / name).glob("*.json"):
            assert '"/' not in json.dumps(json.loads(path.read_text()))
