"""``sordino profile --compare``: exit statuses, output, and files that are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.artefact import Artefact
from runtime.figures import Provenance
from runtime.profile_cli import profile as command
from runtime.profiling import profile as module
from runtime.profiling.backends import Findings, Request
from runtime.profiling.records import OperatorRow, Reading
from tests.runtime.fakes import Outcome, invoke
from tests.runtime.profiling.made_up import figure
from tests.runtime.tiny_models import write_artefact

RULE = """
schema = "sordino-policy/1"
[[rule]]
metric = "step, median [there]"
better = "lower"
max_regression_percent = 10
"""


class Device:
    """A device whose steps take what the test says."""

    def __init__(self) -> None:
        self.step = 100.0

    def measure(self, artefacts: Sequence[Artefact], request: Request) -> Findings:
        taken = figure("step, median [there]", self.step, "µs", Provenance.MEASURED_DEVICE)
        row = OperatorRow(
            step=0,
            kind="CONV_2D",
            output="mask",
            macs=10,
            bytes_moved=5,
            value=self.step,
            unit="µs",
            provenance=Provenance.MEASURED_DEVICE,
        )
        reading = Reading(backend="ssh", place="there", figures=(taken,), operators=(row,))
        return Findings(tuple((reading,) for _ in artefacts))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr(module, "load_backend", lambda name: SimpleNamespace(measure=found.measure))
    return found


class Runs:
    """The command on one artefact, with a base beside it."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.base, self._capfd = folder, folder / "base.json", capfd
        self._artefact = write_artefact(folder).path

    def __call__(self, *arguments: object) -> Outcome:
        place = ("--on", "ssh:pi@there")
        return invoke(self._capfd, command, self._artefact, *place, *arguments)

    def policy(self, text: str) -> Path:
        path = self.folder / "policy.toml"
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def runs(device: Device, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Runs:
    made = Runs(tmp_path, capfd)
    assert made("-o", made.base).status == 0
    return made


def test_as_good_as_before_passes(runs: Runs) -> None:
    outcome = runs("--compare", runs.base)
    assert outcome.status == 0
    assert "the same file" in outcome.out


@pytest.mark.parametrize(("step", "status"), [(104.0, 0), (106.0, 1)])
def test_a_slower_device_fails_beyond_the_limit(
    runs: Runs, device: Device, step: float, status: int
) -> None:
    device.step = step
    outcome = runs("--compare", runs.base)
    assert outcome.status == status
    assert ("100 became 106 µs" in outcome.err) == (status == 1)
    assert runs("--compare", runs.base, "--policy", runs.policy(RULE)).status == 0


def test_what_the_policy_demands_and_nobody_has_fails(runs: Runs) -> None:
    demanded = RULE.replace("[there]", "[elsewhere]")
    assert runs("--compare", runs.base, "--policy", runs.policy(demanded)).status == 1
    patient = runs.policy(demanded + 'missing = "ignore"\n')
    outcome = runs("--compare", runs.base, "--policy", patient)
    assert outcome.status == 3
    assert "No figure" in outcome.err


def test_what_is_no_base_or_policy_is_refused_before_anything_is_measured(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_backend", lambda name: pytest.fail("it measured"))
    broken = runs.folder / "broken.json"
    broken.write_bytes(runs.base.read_bytes()[:-40])
    wrong = runs.policy("schema = 1")
    for arguments in (
        ("--compare", broken),
        ("--compare", runs.folder / "none.json"),
        ("--compare", runs.base, "--policy", wrong),
        ("--policy", wrong),
    ):
        outcome = runs(*arguments)
        assert outcome.status == 2
        assert "Traceback" not in outcome.err


def test_json_holds_the_comparison_and_is_a_base_itself(runs: Runs) -> None:
    outcome = runs("--compare", runs.base, "--json")
    record = json.loads(outcome.out)
    assert {line["verdict"] for line in record["comparison"]["lines"]} <= {"same", "not judged"}
    again = runs.folder / "again.json"
    again.write_text(outcome.out, encoding="utf-8")
    assert runs("--compare", again).status == 0


def test_plot_nodes_and_operators(runs: Runs) -> None:
    plot, nodes = runs.folder / "roofline.svg", runs.folder / "nodes"
    outcome = runs("--plot", plot, "--nodes", nodes, "--operators")
    assert outcome.status == 0
    assert "MACs per µs" in plot.read_text(encoding="utf-8")
    assert any(path.name.endswith("us-there.json") for path in nodes.iterdir())
    assert "share of µs, measured-device" in outcome.out
