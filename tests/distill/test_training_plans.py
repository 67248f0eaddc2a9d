"""What a plan may ask of training: pieces, averages, validation, schedules, a log."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from distill.losses import LossWeights
from distill.methods import build_alignment
from distill.methods.settings import OutputSettings
from distill.mixing import Mixture
from distill.objective import Guidance, Objective, Terms, phases, terms
from distill.recipe import Training
from distill.teachers import Teacher
from distill.training import Progress, train
from distill.training_log import LOG, TrainingLog
from distill.training_state import STATE
from distill.unet import UNet
from distill.views import TapShape, View
from runtime.stft import StftContract
from targets.errors import InputError
from tests.distill.tones import TonesInNoise, fresh_network, held_out_tones

CONTRACT = StftContract()


def objective(guidance: Guidance | None = None) -> Objective:
    return Objective(CONTRACT, LossWeights(), guidance)


def run(
    network: UNet,
    plan: Training,
    folder: Path,
    *,
    goal: Objective | None = None,
    validation: list[Mixture] | None = None,
    stop_after: int | None = None,
) -> list[Progress]:
    events = []
    for event in train(
        *(network, goal or objective(), plan, TonesInNoise(), folder, "run"),
        validation=validation or [],
    ):
        events.append(event)
        if event.step == stop_after:
            break
    return events


def same(one: UNet, other: UNet, tolerance: float = 0.0) -> bool:
    theirs = other.state_dict()
    return all(
        torch.allclose(value.double(), theirs[name].double(), rtol=0.0, atol=tolerance)
        for name, value in one.state_dict().items()
    )


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def gradient(network: UNet) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_pieces_of_a_batch_add_up_to_its_gradient(tmp_path: Path) -> None:
    """Batch norm sees smaller pieces, so both gradients agree closely and not exactly."""
    gradients = []
    for accumulate in (1, 2):
        network = fresh_network()
        plan = Training(steps=1, batch=8, clip=1e3, accumulate=accumulate)
        run(network, plan, tmp_path / str(accumulate))
        gradients.append(gradient(network))
    whole, pieces = gradients
    assert torch.nn.functional.cosine_similarity(whole, pieces, dim=0) > 0.95
    assert float(pieces.norm() / whole.norm()) == pytest.approx(1.0, abs=0.1)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by accumulate"):
        Training(steps=1, batch=4, accumulate=3)


def test_averaged_weights_are_the_exponential_mean_of_those_of_each_step(tmp_path: Path) -> None:
    averaged, steps = fresh_network(), 6
    run(averaged, Training(steps=steps, batch=2, ema=0.8), tmp_path / "averaged")
    network = fresh_network()
    expected: dict[str, Tensor] = {}
    plain = Training(steps=steps, batch=2)
    for _ in train(network, objective(), plain, TonesInNoise(), tmp_path / "plain", "run"):
        now = {name: value.detach().clone() for name, value in network.named_parameters()}
        expected = {n: 0.8 * expected[n] + 0.2 * now[n] for n in now} if expected else now
    for name, value in averaged.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-5, atol=1e-6)


def test_the_best_weights_on_validation_are_kept_and_training_stops_early(tmp_path: Path) -> None:
    # A rate so high that validation soon gets worse.
    plan = Training(steps=60, batch=2, learning_rate=0.2, warmup=0.0, validate_every=2, patience=3)
    network = fresh_network()
    events = run(network, plan, tmp_path, validation=held_out_tones(2))
    scores = [float(row["validation_si_sdr_db"]) for row in log(tmp_path)]
    assert events[-1].step < 60
    assert scores.index(max(scores)) == len(scores) - 1 - plan.patience
    assert events[-1].validation_si_sdr == pytest.approx(max(scores), abs=1e-4)


def test_patience_waits_for_the_denoising_loss(tmp_path: Path) -> None:
    """The first of two steps need not raise SI-SDR: here it makes the student an echo."""
    plan = Training(steps=24, batch=2, learning_rate=0.02, validate_every=1, patience=2)
    goal = objective(guidance(first_share=0.5))
    events = run(fresh_network(), plan, tmp_path, goal=goal, validation=held_out_tones(2))
    scores = [float(row["validation_si_sdr_db"]) for row in log(tmp_path)]
    assert scores.index(max(scores[:12])) < 10  # it would have ended here
    assert events[-1].step > 12


def test_validation_without_mixtures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to validate on"):
        run(fresh_network(), Training(steps=1, batch=2, validate_every=1), tmp_path)


def test_averages_validation_and_log_survive_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.training.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("distill.training.LOG_STEPS", 1)
    plan = Training(steps=12, batch=2, ema=0.7, validate_every=3)
    held_out = held_out_tones(2)
    straight, resumed = fresh_network(), fresh_network(seed=5)
    whole = run(straight, plan, tmp_path / "a", validation=held_out)
    run(fresh_network(), plan, tmp_path / "b", validation=held_out, stop_after=7)
    rest = run(resumed, plan, tmp_path / "b", validation=held_out)
    assert rest[-1] == whole[-1]
    assert same(straight, resumed)
    timeless = ("seconds", "wait_share")
    rows = [
        [{k: v for k, v in row.items() if k not in timeless} for row in log(tmp_path / name)]
        for name in ("a", "b")
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [str(step) for step in range(1, 13)]


class Echo:
    """A teacher whose estimate is the noisy spectrum."""

    name, key, parameters = "echo", "0" * 64, None

    def __init__(self) -> None:
        self.calls = 0

    def tap_paths(self) -> list[str]:
        return []

    def tap_shapes(self, paths: object) -> dict[str, TapShape]:
        return {}

    def view(self, noisy: Tensor, paths: object) -> View:
        from distill import stft

        self.calls += 1
        return View(stft.analyse(CONTRACT, noisy))

    def denoise(self, noisy: object) -> object:
        return noisy


def guidance(first_share: float | None) -> Guidance:
    return Guidance(
        cast(Teacher, Echo()),
        build_alignment([OutputSettings(weight=1.0)], {}, {}),
        (),
        (),
        first_share,
    )


def test_joint_adds_up_and_two_step_takes_turns() -> None:
    joint, turns = objective(guidance(None)), objective(guidance(0.25))
    assert phases(objective(), 10) == phases(joint, 10) == [10]
    assert phases(turns, 8) == [2, 6]
    assert phases(turns, 2) == [1, 1]
    assert terms(objective(), 0) == Terms(guided=False, supervised=True)
    assert terms(joint, 0) == Terms(guided=True, supervised=True)
    assert [terms(turns, phase) for phase in (0, 1)] == [
        Terms(guided=True, supervised=False),
        Terms(guided=False, supervised=True),
    ]


def test_a_teacher_is_asked_in_its_phase_only_and_moves_the_student(tmp_path: Path) -> None:
    plan = Training(steps=8, batch=2, learning_rate=1e-2)
    teacher, turns = Echo(), guidance(0.25)
    turns = replace(turns, teacher=cast(Teacher, teacher))
    guided, alone = fresh_network(), fresh_network()
    run(guided, plan, tmp_path / "guided", goal=objective(turns))
    run(alone, plan, tmp_path / "alone")
    assert teacher.calls == 2
    assert not same(guided, alone, tolerance=1e-6)
    rows = log(tmp_path / "guided")
    assert float(rows[-1]["alignment"]) == 0.0


def test_bf16_trains_and_its_state_resumes(tmp_path: Path) -> None:
    network = fresh_network()
    plan = Training(steps=40, batch=4, learning_rate=5e-3, precision="bf16")
    events = run(network, plan, tmp_path)
    assert events[-1].loss < events[5].loss
    assert all(value.dtype == torch.float32 for value in network.parameters())
    assert (tmp_path / STATE).is_file()


def test_tensorboard_gets_the_rows_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    plan = Training(steps=2, batch=2)
    list(
        train(
            *(fresh_network(), objective(), plan, TonesInNoise(), tmp_path, "run"),
            tensorboard=True,
        )
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (point,) = events.Scalars("loss")
    assert point.step == 2
    assert f"{point.value:.5g}" == f"{float(log(tmp_path)[-1]['loss']):.5g}"


def test_tensorboard_loses_no_step_to_an_interruption(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start in (0, 3):  # interrupted behind step 4, of which nothing was saved
        with TrainingLog(tmp_path, start, tensorboard=True) as written:
            for step in range(start + 1, 5):
                written.write(step, {"loss": 1.0})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss")] == [1, 2, 3, 4]
