"""Making a shipped model: card and files fit each other, and a failure leaves the old ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.corpus import open_corpus
from distill.recipe import parse_recipe
from runtime.artefact import Artefact, load_artefact
from runtime.figures import Figure, Provenance
from runtime.models import open_model
from runtime.models.page import page
from targets.command import run
from tests.distill.pairs import write_pairs
from tests.distill.test_evaluation import save_tiny
from tests.golden.make_models import make
from tests.runtime.tiny_models import write_artefact

COUNT = Figure(
    name="step, median [cortex-m4]",
    value=1000,
    unit="instructions",
    provenance=Provenance.SIMULATED,
    tool="qemu",
)
RECIPE = "{name: my-mcu, seed: 7, distillation: {methods: [{method: output, weight: 0.5}]}}"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of the demo corpus, as far as it is looked at."""
    folder = tmp_path / "run"
    recipe = parse_recipe(RECIPE, "test").model_dump(mode="json")
    provenance = {"corpus_sha256": open_corpus("demo").fingerprint, "recipe_sha256": "ab"}
    for part in ("teacher", "control", "student"):
        save_tiny(folder / part, recipe=recipe, provenance=provenance)
        (folder / part / "log.csv").write_text("step,seconds\n1,0.5\n")
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are made; export, simulator and slow metrics are replaced by their outcome."""
    (tmp_path / "made").mkdir()

    def exported(*given: object) -> list[Artefact]:
        artefact = write_artefact(tmp_path / "made", "tflite-int8")
        return [load_artefact(artefact.path)]

    monkeypatch.setattr("tests.golden.make_models._exported", exported)
    monkeypatch.setattr("tests.golden.make_models._costs", lambda artefact: [COUNT])
    monkeypatch.setattr("tests.golden.make_models.METRICS", ("si-sdr",))
    monkeypatch.setattr("runtime.models.shipped.ROOT", tmp_path / "models")
    monkeypatch.setattr("tests.golden.make_models.ROOT", tmp_path / "models")
    return tmp_path / "models"


def made(run_folder: Path, *options: str, name: str = "mcu") -> int:
    pairs = write_pairs(run_folder.parent / "pairs")
    arguments = [name, "--run", str(run_folder), "--data", "demo", "--pairs", str(pairs)]
    return run(make, "make_models", [*arguments, *options])


def test_a_run_becomes_a_model(shipped: Path, run_folder: Path) -> None:
    assert made(run_folder) == 0
    model = open_model("mcu")
    card = model.card
    assert load_artefact(model.artefact("int8")).sidecar.target == "tflite-int8"
    assert model.checkpoint() == shipped / "mcu"
    assert (shipped / "mcu" / "CARD.md").read_text() == page(card)
    assert [row.condition for row in card.quality[0].rows if row.items == "all"] == [
        *("noisy", "alone", "float", "int8"),
    ]
    assert {row.items for row in card.quality[0].rows} == {"all", "+5 dB"}
    assert card.quality[0].test_set == "pairs"
    assert card.training.method == "output (weight 0.5), joint"
    assert card.training.teacher_sha256 is not None
    assert card.training.seed == 7
    assert [cost.value for cost in card.costs] == [1000]
    assert card.algorithmic_delay_ms == 32.0
    hours = {source.kind: source.hours for source in card.data}
    assert all(length is not None and length > 0.01 for length in hours.values())
    assert set(hours) == {"speech", "noise"}


def test_a_model_is_made_anew_without_what_it_was(shipped: Path, run_folder: Path) -> None:
    assert made(run_folder) == 0
    (shipped / "mcu" / "old-name.tflite").write_bytes(b"of an earlier version")
    first = (shipped / "mcu" / "card.json").read_bytes()
    assert made(run_folder) == 0
    assert (shipped / "mcu" / "card.json").read_bytes() == first
    assert not (shipped / "mcu" / "old-name.tflite").exists()


def test_a_teacher_has_weights_only(shipped: Path, run_folder: Path) -> None:
    assert made(run_folder, "--weights-only", "--part", "teacher", name="teacher") == 0
    card = open_model("teacher").card
    assert (card.role, card.artefacts, card.costs) == ("teacher", (), ())


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("log", "log.csv is missing"),
        ("data", "was not trained on demo"),
        ("path", "names /home/me/noise, which is a place of this machine"),
        ("name", "models.toml says nothing of mcuu"),
    ],
)
def test_what_cannot_be_shipped_leaves_the_model_as_it_was(
    shipped: Path,
    run_folder: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: str,
    sentence: str,
) -> None:
    assert made(run_folder) == 0
    before = {path: path.read_bytes() for path in shipped.rglob("*") if path.is_file()}
    record = run_folder / "student" / "checkpoint.json"
    match spoil:
        case "log":
            (run_folder / "student" / "log.csv").unlink()
        case "data":
            record.write_text(record.read_text().replace('"corpus_sha256": "', '"old": "'))
        case "path":
            record.write_text(
                record.read_text().replace('"data": "demo"', '"data": "/home/me/noise"')
            )
    assert made(run_folder, name="mcuu" if spoil == "name" else "mcu") == 2
    assert sentence in capfd.readouterr().err
    assert {path: path.read_bytes() for path in shipped.rglob("*") if path.is_file()} == before
