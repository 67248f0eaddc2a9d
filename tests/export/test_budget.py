"""Budgets before training: the figures are those of the export, and verdicts can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import runtime.profiling.arena
from distill.recipe import parse_recipe
from distill.unet import PRESETS, UNet, UNetConfig
from export.budget import NetworkBudget, budget
from export.budget_cli import budget as command
from export.cheaper import cheapest_change
from export.counting import macs_per_frame
from export.footprint import activation_peak, state_values, weight_bytes
from export.formats import Format
from export.lowering import lower
from export.rehearsal import rehearse
from export.step_graph import StepGraph, sources
from export.subjects import Subject, example_of, subjects
from export.training_time import time_training
from runtime.artefact import Artefact
from runtime.benchmark import Arena, measure_arena
from runtime.stft import CONTRACTS, StftContract
from targets.command import run
from targets.errors import InputError
from targets.schema import Budget, Memory, Source, Target

SMALL = UNetConfig(bins=64, widths=(6, 8, 10), hidden=12)
CONTRACT = StftContract(bins=64)


def subject_of(config: UNetConfig = SMALL, contract: StftContract = CONTRACT) -> Subject:
    example = example_of(f"1,3,T,{config.bins}")
    return Subject("student", "test", UNet(config), contract, example, decides=True)


def device(
    *,
    clock_mhz: float = 1000.0,
    flash_bytes: int = 10_000_000,
    ram_bytes: int = 10_000_000,
    algorithmic_latency_ms: float = 100.0,
) -> Target:
    """A Cortex-M4 whose every figure is generous unless given."""
    stated = ("core", "clock_mhz", "memory.flash", "memory.sram", "budget.algorithmic_latency_ms")
    return Target.model_validate(
        {
            "name": "board",
            "kind": "device",
            "class": "board",
            "title": "A board",
            "formats": ("tflite-int8",),
            "core": "cortex-m4",
            "clock_mhz": clock_mhz,
            "memory": (
                Memory(name="flash", kind="flash", bytes=flash_bytes, holds=("code", "weights")),
                Memory(name="sram", kind="sram", bytes=ram_bytes, holds=("data",)),
            ),
            "budget": Budget(algorithmic_latency_ms=algorithmic_latency_ms),
            "sources": (Source(supports=stated, title="made up"),),
        }
    )


@pytest.fixture
def no_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up arena: starting a process for the real one takes a second each time."""
    arena = Arena(total_bytes=20_000, head_bytes=5_000, tail_bytes=15_000)
    monkeypatch.setattr(runtime.profiling.arena, "measure_arena", lambda artefact: arena)


def figure(found: NetworkBudget, name: str) -> float:
    return next(figure.value for figure in found.figures if figure.name == name)


# Figures


@pytest.mark.parametrize("fixture", ["int8_file", "float_file"])
def test_a_rehearsed_file_is_as_large_as_the_exported_one(
    network: UNet, fixture: str, request: pytest.FixtureRequest
) -> None:
    format: Format = "tflite-int8" if fixture == "int8_file" else "tflite-fp32"
    rehearsal = rehearse(network, CONTRACT, "test", format, arena=False)
    assert rehearsal.sidecar.model.bytes == len(request.getfixturevalue(fixture))


def test_activations_alive_at_once_are_what_tflm_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite_micro")
    measured: list[Arena] = []

    def recorded(artefact: Artefact) -> Arena:
        measured.append(measure_arena(artefact))
        return measured[-1]

    monkeypatch.setattr(runtime.profiling.arena, "measure_arena", recorded)
    config = UNetConfig(bins=64, widths=(8, 12, 16), hidden=16)
    rehearsal = rehearse(UNet(config), CONTRACT, "test", "tflite-int8")
    peak = activation_peak(rehearsal.graph, 1)
    assert peak <= measured[0].head_bytes <= 1.2 * peak
    assert rehearsal.arena[0].value == measured[0].total_bytes


@settings(max_examples=8, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    hidden=st.integers(1, 9),
    kernel_time=st.sampled_from([1, 2]),
    mask=st.sampled_from(["complex", "real"]),
    bottleneck=st.sampled_from(["gru", "dual"]),
)
def test_figures_follow_from_the_graph(
    widths: tuple[int, ...], hidden: int, kernel_time: int, mask: str, bottleneck: str
) -> None:
    config = UNetConfig.model_validate(
        {
            "bins": 32,
            "widths": widths,
            "hidden": hidden,
            "kernel_time": kernel_time,
            "mask": mask,
            "bottleneck": bottleneck,
        }
    )
    network = UNet(config).eval()
    graph = lower(network)
    assert macs_per_frame(network, example_of("1,3,T,32")) == graph.macs
    assert state_values(graph) == sum(value.numel() for value in network.initial_states(1).values())
    assert graph.parameters <= weight_bytes(graph, 1) <= weight_bytes(graph, 4)
    assert _largest_operator(graph) <= activation_peak(graph, 1) <= _all_tensors(graph)


def _largest_operator(graph: StepGraph) -> int:
    return max(
        sum(prod(tensor.shape) for tensor in {*sources(operator), operator.output})
        for operator in graph.operators
        if operator.output.shape == sources(operator)[0].shape or len(sources(operator)) > 1
    )


def _all_tensors(graph: StepGraph) -> int:
    tensors = {*graph.inputs, *(operator.output for operator in graph.operators)}
    return sum(prod(tensor.shape) + 15 for tensor in tensors)


def test_a_recurrent_layer_is_counted() -> None:
    lstm = nn.LSTM(8, 16, batch_first=True)
    assert macs_per_frame(lstm, example_of("1,T,8")) == 4 * 16 * (8 + 16)


# Verdicts


@pytest.mark.usefixtures("no_arena")
def test_fits_does_not_fit_and_unknown() -> None:
    subject = subject_of()
    targets = [device(), device(flash_bytes=100), device(clock_mhz=0.5)]
    targets.append(device().model_copy(update={"core": "cortex-m55"}))
    found = [target.fit.verdict for target in budget(subject, targets).targets]
    assert found == ["fits", "does not fit", "does not fit", "unknown"]
    missing = budget(subject, [device(flash_bytes=100)]).targets[0].fit
    excess = next(line.excess for line in missing.lines if line.budget == "flash")
    assert excess == figure(budget(subject, []), "model file, int8") - 100


@pytest.mark.usefixtures("no_arena")
def test_a_step_has_a_range_of_times_or_a_reason() -> None:
    found = budget(subject_of(), [device(), device().model_copy(update={"core": "risc-v"})])
    known, unknown = found.targets
    assert known.step_us is not None
    assert known.step_us[0] < known.step_us[1]
    assert unknown.step_us is None
    assert "risc-v" in unknown.step_note


@pytest.mark.usefixtures("no_arena")
def test_lint_decides_too_and_what_cannot_be_exported_does_not_fit() -> None:
    found = budget(subject_of(SMALL.model_copy(update={"bottleneck": "bigru"})), [device()])
    assert not found.exportable
    assert found.verdict == "does not fit"
    assert found.targets[0].fit.lines[0].budget == "export"
    assert budget(subject_of(SMALL.model_copy(update={"bottleneck": "bigru"})), []).verdict == (
        "does not fit"
    )


@pytest.mark.usefixtures("no_arena")
def test_look_ahead_adds_to_the_delay() -> None:
    ahead = subject_of(SMALL.model_copy(update={"look_ahead": 3}))
    late, early = (figure(budget(one, []), "algorithmic delay") for one in (ahead, subject_of()))
    assert late - early == pytest.approx(3 * 16.0)


def test_a_foreign_network_is_counted_and_its_fit_is_unknown() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.ReLU())
    subject = replace(subject_of(), network=network)
    found = budget(subject, [device()])
    assert figure(found, "work per step") == 3 * 3 * 4 * 64
    assert found.verdict == "unknown"
    assert [line.verdict for line in found.targets[0].fit.lines][:2] == ["unknown", "fits"]
    small = budget(subject, [device(flash_bytes=10)])
    assert small.verdict == "does not fit"  # the parameters alone are too many


def test_a_network_that_does_not_run_has_no_work() -> None:
    subject = replace(subject_of(), network=nn.Linear(5, 5))
    found = budget(subject, [device()])
    assert "work per step" in {lacking.name for lacking in found.unavailable}
    assert found.targets[0].step_us is None
    assert found.verdict == "unknown"


# The cheapest change


@pytest.mark.usefixtures("no_arena")
@pytest.mark.parametrize(
    ("short_of", "change"),
    [
        ("clock_mhz", {}),
        ("flash_bytes", {}),
        ("clock_mhz", {"bottleneck": "dual"}),
        ("flash_bytes", {"bottleneck": "dual", "full_band": 48}),
    ],
)
def test_the_change_fits(short_of: str, change: dict[str, object]) -> None:
    config = UNetConfig(bins=64, widths=(16, 24, 32), hidden=48)
    subject = subject_of(config.model_copy(update=change))
    found = budget(subject, [])
    file, macs = (figure(found, name) for name in ("model file, int8", "work per step"))
    # Two thirds of what is needed; a step has 80 % of 16 ms.
    target = (
        device(clock_mhz=6.1 * 0.9 * macs / 12_800 * 2 / 3)
        if short_of == "clock_mhz"
        else device(flash_bytes=int(file) * 2 // 3)
    )
    assert budget(subject, [target]).verdict == "does not fit"
    cheaper = cheapest_change(subject, target)
    assert cheaper is not None
    assert cheaper.verdict == "fits"
    after = budget(replace(subject, network=UNet(cheaper.network)), [target])
    assert after.verdict == "fits"
    # Not smaller than needed: a sixteenth is some tenth of the work.
    kept = figure(after, "work per step") / macs
    assert kept > (0.3 if short_of == "clock_mhz" else 0.5)
    assert "instead of" in cheaper.text


@pytest.mark.usefixtures("no_arena")
@pytest.mark.parametrize(("share", "expected"), [(0.9, "tiny"), (0.15, "")])
def test_the_largest_preset_that_fits_is_named(share: float, expected: str) -> None:
    small = PRESETS["small"].model_copy(update={"bins": 64})
    subject = subject_of(small)
    macs = figure(budget(subject, []), "work per step")
    change = cheapest_change(subject, device(clock_mhz=share * 6.1 * 0.9 * macs / 12_800))
    assert change is not None
    assert change.preset == expected


@pytest.mark.usefixtures("no_arena")
def test_too_much_delay_asks_for_another_contract() -> None:
    config = UNetConfig(widths=(4, 4), hidden=4)
    target = device(algorithmic_latency_ms=9.0)
    change = cheapest_change(subject_of(config, CONTRACTS["phone"]), target)
    assert change is not None
    assert change.contract == CONTRACTS["hearing-aid"]
    assert change.network.bins == CONTRACTS["hearing-aid"].bins
    assert change.verdict == "fits"


@pytest.mark.usefixtures("no_arena")
def test_what_cannot_stream_is_given_up_first() -> None:
    change = cheapest_change(subject_of(SMALL.model_copy(update={"bottleneck": "bigru"})), device())
    assert change is not None
    assert change.network == SMALL
    assert change.text == "bottleneck: gru (instead of bigru)"


@pytest.mark.usefixtures("no_arena")
def test_the_unit_over_all_bins_shrinks_with_the_latents() -> None:
    # Four channels are the fewest: only the latents are left to shrink.
    sizes = UNetConfig(bins=64, widths=(4, 4), hidden=32, bottleneck="dual", blocks=1, full_band=96)
    subject = subject_of(sizes)
    macs = figure(budget(subject, []), "work per step")
    change = cheapest_change(subject, device(clock_mhz=6.1 * 0.9 * macs / 12_800 * 2 / 3))
    assert change is not None
    assert change.verdict == "fits"
    assert change.network.widths == sizes.widths
    assert change.network.hidden < sizes.hidden
    assert change.network.full_band < sizes.full_band
    assert f"full_band: {change.network.full_band} (instead of 96)" in change.text


@pytest.mark.usefixtures("no_arena")
def test_no_change_is_offered_where_none_fits() -> None:
    assert cheapest_change(subject_of(), device(flash_bytes=10)) is None
    assert cheapest_change(subject_of(), device(algorithmic_latency_ms=1.0)) is None


# Subjects and the command


@pytest.mark.parametrize("shape", ["", "1,3,256", "1,3,T,x", "1,0,T"])
def test_bad_shapes_are_refused(shape: str) -> None:
    with pytest.raises(InputError, match="input shape"):
        example_of(shape)


def test_shapes_count_frames_samples_and_several_inputs() -> None:
    first, second = example_of("1,2T ; 1,T,3")(7)
    assert (first.shape, second.shape) == ((1, 14), (1, 7, 3))


def test_a_recipe_has_a_student_and_a_teacher() -> None:
    student, teacher = subjects("demo")
    assert (student.role, student.decides) == ("student", True)
    assert (teacher.role, teacher.decides) == ("teacher", False)


def invoke(*arguments: str) -> tuple[int, str]:
    runner = CliRunner()
    with runner.isolation() as (out, *_):
        status = run(command, "sordino budget", list(arguments))
        return status, out.getvalue().decode()


def toml_of(target: Target, path: Path) -> str:
    flash, sram = target.memory
    path.write_text(
        f'schema = "sordino-target/2"\nname = "board"\nkind = "device"\nclass = "board"\n'
        f'title = "A board"\nformats = ["tflite-int8"]\ncore = "cortex-m4"\n'
        f"clock_mhz = {target.clock_mhz}\n"
        f'[[memory]]\nname = "flash"\nkind = "flash"\nbytes = {flash.bytes}\n'
        f'holds = ["code", "weights"]\n'
        f'[[memory]]\nname = "sram"\nkind = "sram"\nbytes = {sram.bytes}\nholds = ["data"]\n'
        f"[budget]\nalgorithmic_latency_ms = {target.budget.algorithmic_latency_ms}\n"
        f'[[sources]]\nsupports = {json.dumps(target.sources[0].supports)}\ntitle = "made up"\n'
    )
    return str(path)


@pytest.mark.usefixtures("no_arena")
def test_exit_status_and_json(tmp_path: Path, run_folder: Path) -> None:
    generous = toml_of(device(), tmp_path / "board.toml")
    slow = toml_of(device(clock_mhz=0.5), tmp_path / "slow.toml")
    assert invoke(str(run_folder))[0] == 0
    assert invoke(str(run_folder), "--target", generous)[0] == 0
    status, text = invoke(str(run_folder), "--target", slow, "--json")
    assert status == 1
    record = json.loads(text)
    assert record["networks"][0]["verdict"] == "does not fit"
    assert "board" in record["changes"]
    assert invoke(str(run_folder), "--target", "cortex-m55")[0] == 3
    assert invoke("no-such-recipe")[0] == 2


def test_training_is_timed_without_leaving_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "name: quick\ncontrol: false\n"
        "mixing: {seconds: 0.5}\n"
        "teacher: {network: {widths: [4], hidden: 4}, training: {steps: 200, batch: 2}}\n"
        "student: {network: {widths: [4], hidden: 4}, training: {steps: 300, batch: 2}}\n"
    )
    teacher, student = time_training(parse_recipe(text, "quick"))
    assert (teacher.role, teacher.steps) == ("teacher", 200)
    assert (student.role, student.steps) == ("student", 300)
    assert student.seconds == pytest.approx(300 * student.seconds_per_step)
    assert 0.0 < student.seconds_per_step < 30.0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_net.py").write_text(
        "from torch import nn\n"
        "def good(): return nn.Sequential(nn.Conv1d(8, 8, 1), nn.ReLU())\n"
        "def bad(): return nn.Sequential(nn.Conv1d(8, 8, 1), nn.InstanceNorm1d(8), nn.GELU())\n"
    )
    monkeypatch.chdir(tmp_path)
    return "their_net"


def test_the_command_lints_any_module(foreign: str) -> None:
    assert invoke(f"{foreign}:good", "--input", "1,8,T")[0] == 0
    status, text = invoke(f"{foreign}:bad", "--input", "1,8,T")
    assert status == 1
    assert "time-normalisation" in text
    assert "GELU" in text
