"""Profiles: a reading for each place, what is missing with its reason, the fit, exit statuses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.artefact import Artefact, load_artefact
from runtime.devices.children import ToolMissing
from runtime.figures import Figure, Provenance
from runtime.profile_cli import profile as command
from runtime.profiling import profile as module
from runtime.profiling.backends import (
    BACKENDS,
    Findings,
    Place,
    Request,
    load_backend,
    parse_place,
)
from runtime.profiling.profile import profile, usual_places
from runtime.profiling.records import ProfileReport, Reading
from targets.catalog import load_target
from targets.errors import GateUnavailable, InputError
from targets.fit import arena_with_margin
from tests.runtime.fakes import invoke, needs_tflm
from tests.runtime.tiny_models import write_artefact

QUICK = 0.2  # seconds of timing


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_artefact(tmp_path_factory.mktemp("model"), "tflite-int8")


@pytest.fixture(scope="module")
def profiled(artefact: Artefact) -> ProfileReport:
    request = Request(seconds=QUICK, engines=("litert", "tflm"), target=load_target("cortex-m4"))
    return profile([artefact], request=request, command="sordino profile it").report


def _reading(value: float = 1.0, **changes: object) -> Reading:
    figure = Figure(
        name="step, median [there]",
        value=value,
        unit="µs",
        provenance=Provenance.MEASURED_DEVICE,
        tool="a clock",
    )
    fields = {"backend": "ssh", "place": "there", "figures": (figure,), **changes}
    return Reading.model_validate(fields)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """A device that answers every request with one figure; the requests it got."""
    asked: list[Request] = []

    def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
        asked.append(request)
        if request.address == "asleep":
            raise GateUnavailable("The device does not answer.", hint="Wake it.")
        if request.address == "wrong":
            return Findings(((_reading(matches=False, difference="Frame 3 differs."),),))
        return Findings(tuple((_reading(),) for _ in artefacts))

    monkeypatch.setattr(module, "load_backend", lambda name: SimpleNamespace(measure=measure))
    return asked


@needs_tflm
def test_what_can_be_counted_is_exact(profiled: ProfileReport, artefact: Artefact) -> None:
    (subject,) = profiled.subjects
    size, per_second = subject.figure("model size"), subject.figure("work per second")
    assert size is not None
    assert size.value == artefact.path.stat().st_size
    assert size.provenance is Provenance.EXACT
    assert per_second is not None
    assert per_second.value == artefact.sidecar.network.macs_per_step * 62.5
    assert subject.operators == {"CONCATENATION": 1, "CONV_2D": 2}


@needs_tflm
def test_a_profile_says_what_it_was_made_with(profiled: ProfileReport, artefact: Artefact) -> None:
    assert profiled.schema_version == "sordino-profile/1"
    assert profiled.command == "sordino profile it"
    assert profiled.tools["sordino"]
    assert profiled.machine.logical_cores >= 1
    assert profiled.subjects[0].sha256 == artefact.sidecar.model.sha256
    assert profiled.target == "cortex-m4"
    restored = ProfileReport.model_validate_json(profiled.model_dump_json(by_alias=True))
    assert restored == profiled


@needs_tflm
def test_no_figure_is_without_class_tool_and_unit(profiled: ProfileReport) -> None:
    for figure in profiled.subjects[0].all_figures():
        assert figure.provenance in Provenance
        assert figure.tool, figure.name
        if figure.provenance is Provenance.MODELLED:
            assert figure.low is not None, figure.name
            assert figure.high is not None, figure.name
            assert figure.low <= figure.value <= figure.high
            assert figure.conditions


@needs_tflm
def test_memory_and_arena_are_measured_and_the_fit_uses_them(profiled: ProfileReport) -> None:
    (subject,) = profiled.subjects
    for engine in ("litert", "tflm"):
        memory = subject.figure(f"peak memory [{engine}]")
        assert memory is not None
        assert 10_000 < memory.value < 100_000_000
    arena, reserve = subject.figure("TFLM arena"), subject.figure("TFLM arena to reserve")
    assert arena is not None
    assert reserve is not None
    # The activations that live at once: two features, their concatenation and a mask, in bytes.
    assert 3 * 256 * 3 < arena.value < 20_000
    assert "estimated ±10 %, kernel scratch excluded" in arena.conditions
    assert reserve.value == arena_with_margin(int(arena.value)) >= arena.value + 2048
    assert reserve.provenance is Provenance.MODELLED
    assert subject.fit is not None
    lines = {line.budget: line for line in subject.fit.lines}
    assert lines["RAM"].needs == reserve.value
    assert lines["operators"].verdict == "fits"


def test_places_are_parsed_and_unknown_ones_refused() -> None:
    assert parse_place("ssh:pi@host:2222") == Place("ssh", "pi@host:2222")
    assert str(parse_place("simulator:cortex-m4")) == "simulator:cortex-m4"
    with pytest.raises(InputError, match="'toaster'") as caught:
        parse_place("toaster")
    assert "simulator" in caught.value.hint
    with pytest.raises(InputError) as misspelt:
        parse_place("hots")
    assert misspelt.value.hint.startswith("Did you mean 'host'?")
    with pytest.raises(InputError, match="takes no address"):
        parse_place("host:here")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_of_the_table_can_be_loaded(name: str) -> None:
    assert callable(load_backend(name).measure)


def test_what_stands_in_for_a_target(artefact: Artefact) -> None:
    assert usual_places([artefact], None) == (Place("host"),)
    assert usual_places([artefact], load_target("cortex-m4")) == (Place("host"),)
    c = artefact.model_copy(
        update={"sidecar": artefact.sidecar.model_copy(update={"memory": {"ram": 1}})}
    )
    assert usual_places([c], load_target("cortex-m4")) == (
        Place("host"),
        Place("simulator", "cortex-m4"),
    )
    # Without a name: a target of the user's own file is known to the request alone.
    assert usual_places([artefact], load_target("corstone-300"))[1:] == (Place("vela"),)
    assert usual_places([c], load_target("phone")) == (Place("host"),)


def test_a_place_that_cannot_run_is_a_failure_only_if_asked_for(
    artefact: Artefact, device: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = profile([artefact], [Place("ssh", "asleep"), Place("ssh", "pi@there")])
    assert [request.address for request in device] == ["asleep", "pi@there"]
    assert [each.name for each in result.report.unavailable] == ["ssh:asleep"]
    assert result.report.unavailable[0].reason == "The device does not answer. Wake it."
    assert len(result.failures) == 1
    assert result.report.subjects[0].figure("step, median [there]") is not None
    monkeypatch.setattr(module, "usual_places", lambda *given: (Place("ssh", "asleep"),))
    assert profile([artefact]).failures == ()


def test_a_host_without_the_engine_is_a_failure(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.devices.host.engine_version", lambda name: "")
    result = profile([artefact], request=Request(engines=("litert",)))
    assert [each.name for each in result.report.unavailable] == ["host"]
    assert [type(error) for error in result.failures] == [ToolMissing]


def test_a_damaged_model_is_refused_before_anything_runs(
    artefact: Artefact, device: list[Request], tmp_path: Path
) -> None:
    damaged = artefact.model_copy(update={"path": tmp_path / "damaged.tflite"})
    damaged.path.write_bytes(artefact.path.read_bytes()[:-7])
    with pytest.raises(InputError):
        profile([damaged], [Place("ssh", "pi@there")])
    assert device == []


def test_the_command_exits_3_where_a_place_is_missing(
    artefact: Artefact, device: list[Request], capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capfd, command, artefact.path, "--on", "ssh:asleep", "--on", "ssh:pi@there")
    assert outcome.status == 3
    assert "does not answer" in outcome.err
    assert "step, median" in outcome.out  # the rest is reported


def test_the_command_exits_1_where_masks_differ(
    artefact: Artefact, device: list[Request], capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capfd, command, artefact.path, "--on", "ssh:wrong")
    assert outcome.status == 1
    assert "Frame 3 differs" in outcome.err


def test_the_command_exits_by_the_fit(
    artefact: Artefact,
    device: list[Request],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = (artefact.path, "--on", "ssh:pi@there", "--target")
    assert invoke(capfd, command, *arguments, "tflite-int8").status == 0
    refused = invoke(capfd, command, *arguments, "onnx-fp32")
    assert refused.status == 1
    assert "does not fit onnx-fp32: format" in refused.err
    unknown = invoke(capfd, command, *arguments, "cortex-m55")
    assert unknown.status == 3
    assert "may or may not fit cortex-m55" in unknown.err
    hint = unknown.err.partition("Hint: ")[2]
    assert hint.startswith("Not known: the arena")
    assert "I/O" not in hint  # no limit asks for it


def test_the_command_prints_json_writes_it_and_repeats_itself(
    artefact: Artefact, device: list[Request], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "profile.json"
    arguments = (artefact.path, "--on", "ssh:pi@there", "--seconds", "1.5", "--cpu", "0")
    outcome = invoke(capfd, command, *arguments, "--json", "-o", written)
    assert outcome.status == 0, outcome.err
    report = ProfileReport.model_validate(json.loads(outcome.out))
    assert ProfileReport.model_validate_json(written.read_bytes()) == report
    assert report.subjects[0].sha256 == load_artefact(artefact.path).sidecar.model.sha256
    words = shlex.split(report.command)
    assert words[:2] == ["sordino", "profile"]
    assert Path(words[2]).name == artefact.path.name
    assert shlex.join(words[3:]) == "--on ssh:pi@there --seconds 1.5 --frames 100 --cpu 0"
    assert device[0].cpu == 0
    shown = invoke(capfd, command, *arguments).out
    for text in ("measured-device", "work per step", "To measure again: sordino profile"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "litert"), "--engine is for this machine"),
        (("--target", "toaster"), "toaster"),
        (("--on", "toaster"), "toaster"),
        (("--policy", "p.toml"), "--compare"),
        (("--calibrate", "c.toml"), "--target"),
        (("--calibrate", "c.toml", "--target", "cortex-m4"), "needs a board"),
        (("--output", "nowhere/p.json"), "nowhere"),
        (("--output", "."), "is a folder"),
        (("--plot", "nowhere/p.svg"), "nowhere"),
        (("--compare", "no.json"), "no.json"),
    ],
)
def test_bad_usage_is_told_in_a_sentence(
    artefact: Artefact,
    device: list[Request],
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    outcome = invoke(capfd, command, artefact.path, "--on", "ssh:pi@there", *arguments)
    assert outcome.status == 2
    assert said in outcome.err
    assert "Hint:" in outcome.err
    assert device == []  # told before anything was measured


def test_an_engine_that_is_none(artefact: Artefact, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capfd, command, artefact.path, "--engine", "warp")
    assert outcome.status == 2
    assert "warp" in outcome.err
    assert "Hint: Known: " in outcome.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e9", "soon"])
def test_seconds_that_are_none(
    artefact: Artefact, capfd: pytest.CaptureFixture[str], seconds: str
) -> None:
    outcome = invoke(capfd, command, artefact.path, "--seconds", seconds)
    assert outcome.status == 2
    assert "Invalid value for '--seconds'" in outcome.err


def test_what_cannot_be_written_is_shown_all_the_same(
    artefact: Artefact, device: list[Request], capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (artefact.path, "--on", "ssh:pi@there", "-o", "/proc/profile.json")
    outcome = invoke(capfd, command, *arguments)
    assert outcome.status == 2
    assert "/proc/profile.json" in outcome.err
    assert "step, median" in outcome.out


def test_a_board_that_is_not_there_is_told_before_its_calibration(
    artefact: Artefact, device: list[Request], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = tmp_path / "board.toml"
    arguments = ("--on", "serial:asleep", "--target", "cortex-m4", "--calibrate", made)
    outcome = invoke(capfd, command, artefact.path, *arguments)
    assert outcome.status == 3
    assert "does not answer" in outcome.err
    assert not made.exists()


def test_a_tool_that_is_missing_names_its_package(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing(artefacts: Sequence[Artefact], request: Request) -> Findings:
        raise ToolMissing("The program adb is not installed here.", hint="sudo apt install adb")

    monkeypatch.setattr(module, "load_backend", lambda name: SimpleNamespace(measure=missing))
    outcome = invoke(capfd, command, artefact.path, "--on", "adb")
    assert outcome.status == 3
    assert "sudo apt install adb" in outcome.err
