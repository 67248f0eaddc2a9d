"""Generated models on every core, frame by frame against TFLM."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from distill.unet import UNetConfig, preset
from runtime.artefact import Artefact
from runtime.devices.artefacts import labels_of, simulate_artefact
from runtime.devices.bare_metal import simulate
from runtime.devices.cores import CORES
from runtime.devices.simulation import GoldenVectors
from runtime.figures import Provenance
from targets.errors import InputError
from tests.runtime.devices import handmade
from tests.runtime.devices.generated import Generated, generated, untrained, untrained_artefact

pytest.importorskip("tflite_micro", reason="the golden frames come from TFLM")
LITTLE = UNetConfig(bins=32, widths=(4, 6), hidden=8)
FLOAT_TOLERANCE = 1e-4
FRAMES = 100


@cache
def little(format: str) -> Generated:
    return generated(untrained(LITTLE, format), 10)


@cache
def tiny(format: str) -> Generated:
    return generated(untrained(preset("tiny"), format), FRAMES)


@pytest.mark.parametrize("core", handmade.simulated("cortex-m4"))
def test_a_little_network_is_exact_and_its_operators_add_up(core: str) -> None:
    model = little("int8")
    report = simulate(model.sources, model.vectors, core, operators=model.labels)
    assert report.exact
    assert report.repeatable
    operators = sum(operator.instructions.median for operator in report.operators)
    assert 0.97 < operators / report.step.median < 1.03
    assert sum(operator.macs for operator in report.operators) == model.macs
    assert 0 < report.stack < 2_000


def test_labels_are_read_from_the_generated_source() -> None:
    model = little("int8")
    assert labels_of(model.sources["model.c"]) == model.labels


@pytest.mark.parametrize("core", handmade.simulated("cortex-m4"))
def test_one_changed_weight_shows(core: str) -> None:
    """The sign of one weight of the last convolution: seen in the first frame already."""
    model = little("int8")
    text = model.sources["model.c"].decode()
    start = text.index("static const int8_t")
    brace = text.index("{", start)
    number = text[brace + 1 : text.index(",", brace)]
    changed = text[: brace + 1] + str(-int(number) or 1) + text[text.index(",", brace) :]
    report = simulate({**model.sources, "model.c": changed.encode()}, model.vectors, core, runs=1)
    assert report.difference is not None
    assert report.difference.differing >= 1


@pytest.mark.slow
@pytest.mark.parametrize("format", ["int8", "int16x8"])
@pytest.mark.parametrize("core", handmade.simulated(*CORES))
def test_tiny_is_exact_over_streaming_frames(core: str, format: str) -> None:
    model = tiny(format)
    report = simulate(model.sources, model.vectors, core)
    assert report.exact
    assert report.repeatable
    assert report.frames == FRAMES


@pytest.mark.slow
@pytest.mark.parametrize("core", handmade.simulated("cortex-m4", "cortex-m55", "rv32imac"))
def test_tiny_in_float_is_close(core: str) -> None:
    """Floats are held to a tolerance, not to the bit."""
    model = tiny("fp32")
    frames = 20 if core == "rv32imac" else FRAMES  # a core that has to emulate floats
    vectors = GoldenVectors(model.vectors.features[:frames], model.vectors.masks[:frames])
    report = simulate(model.sources, vectors, core)
    largest = report.difference.largest if report.difference else 0.0
    assert largest <= FLOAT_TOLERANCE
    assert np.abs(vectors.masks).max() > 0.1
    assert report.repeatable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "core", "limit"),
    [
        ("tiny", "cortex-m4", 3.2),
        ("tiny", "cortex-m55", 1.2),
        ("small", "cortex-m4", 3.2),
        ("small", "cortex-m55", 1.2),
    ],
)
def test_instructions_per_mac_stay_within_what_was_asked(
    name: str, core: str, limit: float
) -> None:
    """Of networks that are made of convolutions and matrix products."""
    if not handmade.installed(core):
        pytest.skip(f"{CORES[core].toolchain.packages} not installed")
    model = generated(untrained(preset(name), "int8"), 5)
    report = simulate(model.sources, model.vectors, core, runs=1)
    assert report.exact
    assert report.step.maximum <= limit * model.macs


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """A little network as C in float, with its sidecar."""
    return untrained_artefact(tmp_path_factory.mktemp("artefact"), LITTLE, "c-fp32")


@pytest.mark.parametrize("core", handmade.simulated("cortex-m4"))
def test_a_c_artefact_is_compared_with_itself_on_this_machine(
    core: str, artefact: Artefact
) -> None:
    report = simulate_artefact(artefact, core, frames=5)
    assert report.frames == 5
    assert report.difference is None or report.difference.largest <= FLOAT_TOLERANCE
    assert {operator.kind for operator in report.operators} > {"CONV_2D", "TANH"}
    figures = {figure.name: figure for figure in report.figures()}
    assert figures["step, median [cortex-m4]"].value == report.step.median
    assert all(figure.provenance is Provenance.SIMULATED for figure in figures.values())
    assert all("-O3" in figure.conditions + figure.tool for figure in figures.values())


def test_only_c_runs_on_a_bare_core(artefact: Artefact) -> None:
    other = artefact.model_copy(update={"path": artefact.path.with_suffix(".tflite")})
    with pytest.raises(InputError, match=r"model\.tflite is not C"):
        simulate_artefact(other, "cortex-m4")
