"""Vela: what it models is labelled so, what it cannot take is said, nothing is left to defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.artefact import Artefact
from runtime.devices import vela
from runtime.devices.children import Finished, ToolMissing
from runtime.doctor import installed_version
from runtime.figures import Provenance
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from targets.catalog import load_target
from targets.errors import GateUnavailable, InputError
from targets.schema import Vela
from targets.writing import profile_text
from tests.runtime.tiny_models import write_artefact

ETHOS = "ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram"

needs_vela = pytest.mark.skipif(
    not installed_version(("ethos-u-vela",)), reason="Vela is not installed"
)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_artefact(tmp_path_factory.mktemp("model"), "tflite-int8")


def _only(artefact: Artefact, address: str = ETHOS) -> Reading:
    ((reading,),) = vela.measure([artefact], Request(address=address)).readings
    return reading


@needs_vela
def test_cycles_memory_and_share_are_modelled_ranges(artefact: Artefact) -> None:
    reading = _only(artefact)
    figures = {figure.name: figure for figure in reading.figures}
    cycles, step = figures["cycles [ethos-u55-128]"], figures["step [ethos-u55-128]"]
    assert all(figure.provenance is Provenance.MODELLED for figure in figures.values())
    assert cycles.low is not None
    assert cycles.high is not None
    assert 0 < cycles.low <= cycles.value <= cycles.high
    assert step.value == pytest.approx(cycles.value / 500)  # µs at 500 MHz
    assert "Ethos_U55_High_End_Embedded" in cycles.conditions
    assert figures["SRAM [ethos-u55-128]"].value > 0
    assert sum(row.value or 0 for row in reading.operators) == pytest.approx(cycles.value)


@needs_vela
def test_another_memory_system_gives_other_cycles(artefact: Artefact) -> None:
    slow = _only(artefact, "ethos-u55-32/Ethos_U55_Deep_Embedded/Shared_Sram")
    assert slow.figures[0].name == "cycles [ethos-u55-32]"
    assert slow.figures[1].value > _only(artefact).figures[1].value  # µs: another clock


@needs_vela
@pytest.mark.parametrize(
    "address",
    [
        "ethos-u55-128/Ethos_U55_Nowhere/Shared_Sram",
        "ethos-u99-128/Ethos_U55_High_End_Embedded/Shared_Sram",
        "ethos-u55-128/Ethos_U55_High_End_Embedded/Nowhere",
    ],
)
def test_an_npu_that_vela_does_not_know(artefact: Artefact, address: str) -> None:
    with pytest.raises(InputError, match="does not know this NPU") as caught:
        _only(artefact, address)
    assert "list-configs" in caught.value.hint


def test_no_npu_is_guessed(artefact: Artefact) -> None:
    with pytest.raises(InputError, match="No Ethos-U is named"):
        _only(artefact, "")
    with pytest.raises(InputError, match="cortex-m4 has no Ethos-U"):
        _only(artefact, "cortex-m4")


@needs_vela
def test_the_npu_of_a_target_in_a_file_or_of_the_request(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("corstone-300")
    monkeypatch.chdir(tmp_path)
    own = Path("boards", "own-board.toml")
    own.parent.mkdir()
    own.write_text(profile_text(target.model_copy(update={"name": "own-board"})))
    by_request = vela.measure([artefact], Request(target=target)).readings[0][0]
    assert _only(artefact, f"./{own}").figures == by_request.figures


@needs_vela
def test_float_models_are_unavailable_with_the_reason(artefact: Artefact, tmp_path: Path) -> None:
    both = [artefact, write_artefact(tmp_path, "tflite-fp32")]
    _, (reading,) = vela.measure(both, Request(address="corstone-300")).readings
    assert not reading.figures
    assert "tflite-int8" in reading.unavailable[0].reason


def test_nothing_that_vela_takes_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fp32\.tflite is none of them") as caught:
        _only(write_artefact(tmp_path, "tflite-fp32"))
    assert "tflite-int8" in caught.value.hint


def test_without_vela_it_says_how_to_get_it(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vela, "installed_version", lambda names: "")
    with pytest.raises(ToolMissing) as caught:
        _only(artefact)
    assert caught.value.exit_code == 3
    assert "sordino[profile]" in caught.value.hint


@needs_vela
def test_operators_left_on_the_cpu_say_why(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vela's own words for a stride it does not take, about an operator of this model."""
    output = next(row.output for row in _only(artefact).operators if row.kind == "Conv2D")
    run = vela._compile

    def refusing(folder: Path, configuration: Vela) -> Finished:
        finished = run(folder, configuration)
        (table,) = folder.glob("out/*_per-layer.csv")
        table.write_text(table.read_text().replace("Conv2D,NPU,", "Conv2D,CPU,", 1))
        said = (
            f"Warning (supported operators) operator: CONV_2D, ofm: '{output}_act'\n"
            "Reason: Unsupported kernel stride: 4, 1\nStride>3 is only supported IF\n\n"
        )
        return Finished(0, said + finished.output, finished.errors)

    monkeypatch.setattr(vela, "_compile", refusing)
    reading = _only(artefact)
    row = next(row for row in reading.operators if row.place == "CPU")
    assert row.value is None
    assert row.note == "Unsupported kernel stride: 4, 1 Stride>3 is only supported IF"
    share = next(figure for figure in reading.figures if "operators on the NPU" in figure.name)
    assert share.value < 100


@needs_vela
def test_tables_of_another_version_are_not_guessed_at(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = vela._compile

    def renamed(folder: Path, configuration: Vela) -> Finished:
        finished = run(folder, configuration)
        (table,) = folder.glob("out/*_per-layer.csv")
        table.write_text(table.read_text().replace("Op Cycles", "Cycles"))
        return finished

    monkeypatch.setattr(vela, "_compile", renamed)
    with pytest.raises(GateUnavailable, match=r"not those of version 5\.2"):
        _only(artefact)
