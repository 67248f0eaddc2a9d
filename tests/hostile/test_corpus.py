"""Hostile and damaged models: one sentence each, no crash, no hang, little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import sordino
from runtime.artefact import load_artefact
from runtime.denoiser import StreamingDenoiser
from runtime.engines import engine_names, open_engine
from runtime.modelfile.check import check_model, checked_bytes
from runtime.modelfile.refusal import ModelRefused
from targets.errors import SordinoError
from tests.hostile.bases import Base, bases
from tests.hostile.corpus import corpus, one_of_each_family
from tests.hostile.specimen import Specimen, specimen
from tests.runtime.fakes import needs_tflm

MEMORY = 500e6  # bytes
SECONDS = 60.0  # for one model on a busy machine; those that compute without end take 4 of CPU
BATCH = 100
# Sound as far as reading goes: what they compute is found out in a child.
SOUND_TO_READ = {"memory bomb", "endless work"}
SENTENCE = re.compile(r"[^.\n]\S.{10,400}\.")


def is_a_sentence(text: str) -> bool:
    return SENTENCE.fullmatch(text) is not None and text.isprintable()


@pytest.mark.parametrize("name", ["float", "int8", "onnx"])
def test_what_is_damaged_was_sound(name: str, tmp_path: Path) -> None:
    base = bases()[name]
    path = specimen(base, "sound", "sound", base.content).write(tmp_path / "model")
    artefact = load_artefact(path)
    for engine in engine_names(artefact):
        denoiser = StreamingDenoiser(artefact.sidecar, open_engine(artefact, engine))
        assert np.isfinite(denoiser.push(np.zeros(256, np.float32))).all()


@pytest.fixture(scope="module")
def families() -> list[Specimen]:
    return one_of_each_family()


def test_every_family_is_refused_by_the_checks_alone(
    families: list[Specimen], tmp_path: Path
) -> None:
    assert len(families) > 45
    for number, found in enumerate(families):
        error = refusal(found.write(tmp_path / str(number)))
        if error is None:
            assert found.harmless or found.family in SOUND_TO_READ, found
        else:
            assert is_a_sentence(error.message), error.message
            assert error.hint


def refusal(path: Path) -> SordinoError | None:
    try:
        checked_bytes(load_artefact(path))
    except SordinoError as error:
        return error
    return None


def test_the_command_says_one_sentence(
    families: list[Specimen],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("noisy.wav", np.zeros(1600), 16_000)
    for number, found in enumerate(families):
        if found.harmless or found.family == "endless work":
            continue
        path = found.write(tmp_path / str(number))
        status = sordino.main(["denoise", "noisy.wav", "clean.wav", "--model", str(path)])
        check_told(found, status, capfd.readouterr().err)
        assert not Path("clean.wav").exists()


def check_told(found: Specimen, status: int, err: str) -> None:
    """Exactly one sentence and one hint, and the status of bad input or a failed gate."""
    assert status in (1, 2), (found, err)
    lines = err.strip().split("\n")
    assert [line.partition(": ")[0] for line in lines] == ["Error", "Hint"], (found, err)
    assert is_a_sentence(lines[0].removeprefix("Error: ")), (found, err)


# --- everything, slowly ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Specimen]:
    """Every specimen of the corpus by the folder it lies in."""
    root = tmp_path_factory.mktemp("corpus")
    placed = {str(root / f"{number}"): found for number, found in enumerate(corpus())}
    for folder, found in placed.items():
        found.write(Path(folder))
    return placed


@pytest.fixture(scope="module")
def outcomes(menagerie: dict[str, Specimen], repository: Path) -> dict[str, dict[str, Any]]:
    """What came of each specimen, by its folder."""
    folders = list(menagerie)
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(folders), BATCH):
        found |= fed_to_a_child(folders[start : start + BATCH], repository)
    return found


@needs_tflm
@pytest.mark.slow
def test_the_corpus(menagerie: dict[str, Specimen], outcomes: dict[str, dict[str, Any]]) -> None:
    assert len(outcomes) == len(menagerie) >= 500
    count: Counter[str] = Counter()
    for folder, outcome in outcomes.items():
        found = menagerie[folder]
        assert "raised" not in outcome, (found, outcome)
        assert "told" in outcome or found.harmless, (found, outcome)
        if "told" in outcome:
            assert is_a_sentence(outcome["told"]), (found, outcome)
            assert outcome["hint"], (found, outcome)
        assert outcome["peak"] < MEMORY, (found, outcome)
        assert outcome["seconds"] < SECONDS, (found, outcome)
        count["told" if "told" in outcome else "ran"] += 1
    assert count["told"] >= 1400


@pytest.mark.slow
def test_the_manual_counts_and_quotes_it(
    menagerie: dict[str, Specimen], outcomes: dict[str, dict[str, Any]], repository: Path
) -> None:
    counted = Counter((found.family, found.suffix) for found in menagerie.values())
    told = {(menagerie[folder].family, outcomes[folder].get("told")) for folder in outcomes}
    rows = re.findall(
        r"^\| (.+) \| ([\d–]+) \| ([\d–]+) \| `(.+)` \|$",
        (repository / "docs" / "bad-input.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert {family for family, *_ in rows} == {family for family, _ in counted}
    for family, tflite, onnx, sentence in rows:
        found = (counted[family, ".tflite"], counted[family, ".onnx"])
        assert (tflite, onnx) == tuple(str(count) if count else "–" for count in found), family
        assert (family, sentence) in told, family


def fed_to_a_child(folders: Sequence[str], repository: Path) -> dict[str, dict[str, Any]]:
    done = child(repository, "tests.hostile.keeper", *folders)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, records[-1:], done.stderr[-500:])
    pairs = zip(records[::2], records[1::2], strict=True)
    return {announced["folder"]: outcome for announced, outcome in pairs}


def child(repository: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20 * SECONDS,
    )


@pytest.mark.slow
def test_every_family_through_the_commands(
    families: list[Specimen],
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("noisy.wav", np.zeros(1600), 16_000)
    harmful = [found for found in families if not found.harmless]
    models = [str(found.write(tmp_path / str(n))) for n, found in enumerate(harmful)]
    done = child(repository, "tests.hostile.commands", "noisy.wav", *models)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, harmful[len(records)], done.stderr[-500:])
    for found, record in zip(harmful, records, strict=True):
        for status, err in record["outcomes"].values():
            check_told(found, status, err)
        assert record["peak"] < MEMORY, found


# --- whatever else ---------------------------------------------------------------------------


def _mutations(base: Base, count: int) -> Iterator[bytes]:
    chance = np.random.default_rng(len(base.content))
    for _ in range(count):
        content = bytearray(base.content)
        for _ in range(int(chance.integers(1, 5))):
            place = int(chance.integers(len(content)))
            content[place] = int(chance.integers(256))
        yield bytes(content)


@pytest.mark.parametrize("name", ["int8", "onnx"])
def test_checks_raise_nothing_else(name: str) -> None:
    base = bases()[name]
    for content in _mutations(base, 300):
        with suppress(ModelRefused):
            check_model(content, base.suffix)
