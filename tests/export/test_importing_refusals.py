"""What cannot be imported is refused with operator, module path and a suggestion that works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from export.importing.imported import import_student
from export.importing.refusals import Uncovered
from export.importing.student import check_student, open_student
from targets.errors import InputError

BINS = 8
Layer = Callable[[Tensor], Tensor]


class Middle(nn.Module):
    """Something in the middle of a network, so that it has a path."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, value: Tensor) -> Tensor:
        return self.layer(value)


class Student(nn.Module):
    """Channels, then something, then a mask; one state, the frame before."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(6, 4, 1)
        self.blocks = nn.ModuleList([Middle(layer)])
        self.decoder = nn.Conv2d(4, 2, 1)

    def initial_states(self) -> dict[str, Tensor]:
        return {"past": torch.zeros(1, 3, 1, BINS)}

    def step(self, features: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        value = self.blocks[0](self.encoder(torch.cat([past, features], dim=1)))
        return torch.tanh(self.decoder(value)), features

    def forward(self, features: Tensor) -> Tensor:
        masks, past = [], self.initial_states()["past"]
        for frame in features.split(1, dim=2):
            mask, past = self.step(frame, past)
            masks.append(mask)
        return torch.cat(masks, dim=2)


# What is refused, the operator that must be named, a word of the suggestion, and what follows it.
REFUSED: dict[str, tuple[Layer, str, str, Layer]] = {
    "layer norm": (nn.LayerNorm(BINS), "layer_norm", "BatchNorm2d", nn.BatchNorm2d(4)),
    "instance norm": (nn.InstanceNorm2d(4), "instance_norm", "BatchNorm2d", nn.BatchNorm2d(4)),
    "group norm": (nn.GroupNorm(2, 4), "group_norm", "BatchNorm2d", nn.BatchNorm2d(4)),
    "gelu": (nn.GELU(), "gelu", "approximate='tanh'", nn.GELU(approximate="tanh")),
    "elu": (nn.ELU(), "elu", "PReLU", nn.PReLU()),
    "softplus": (nn.Softplus(), "softplus", "ReLU", nn.ReLU()),
    "softmax": (nn.Softmax(1), "softmax", "Sigmoid", nn.Sigmoid()),
    "exponential": (torch.exp, "exp", "Sigmoid", torch.sigmoid),
    "max pooling": (
        lambda x: functional.max_pool2d(x, (1, 2)).repeat_interleave(2, 3),
        "max_pool2d",
        "AvgPool2d",
        lambda x: functional.avg_pool2d(x, (1, 2)).repeat_interleave(2, 3),
    ),
    "division": (
        lambda x: x / (1.0 + x.abs()),
        "div",
        "Sigmoid",
        lambda x: x * torch.sigmoid(-x.abs()),
    ),
    "square root": (lambda x: (x * x).pow(0.5), "pow", "contract", lambda x: x * x),
    "product of activations": (
        lambda x: x.transpose(2, 3) @ x,
        "matmul",
        "Linear",
        nn.Linear(BINS, BINS),
    ),
    "gathering": (
        lambda x: x[:, torch.tensor([3, 1, 2, 0])],
        "index",
        "torch.cat",
        lambda x: torch.cat([x[:, 3:], x[:, 1:3], x[:, :1]], dim=1),
    ),
    "writing": (
        lambda x: _written(x),
        "copy_",
        "torch.cat",
        lambda x: torch.cat([x[:, :2] * 2.0, x[:, 2:]], dim=1),
    ),
    "constant joined": (
        lambda x: torch.cat([x, torch.ones(1, 1, 1, BINS)], dim=1)[:, 1:],
        "cat",
        "Add the constant",
        lambda x: x + torch.ones(1, 1, 1, BINS),
    ),
    "reflected edges": (
        lambda x: functional.pad(x, (1, 0, 0, 0), mode="reflect")[..., :-1],
        "pad",
        "zeros",
        lambda x: functional.pad(x, (1, 0))[..., :-1],
    ),
    "noise": (lambda x: x + torch.randn(BINS), "randn", "fixed", lambda x: x + torch.ones(BINS)),
    "interpolation": (
        lambda x: functional.interpolate(x, scale_factor=(1, 2), mode="bilinear")[..., ::2],
        "upsample_bilinear2d",
        "nearest",
        lambda x: functional.interpolate(x, scale_factor=(1, 2))[..., ::2],
    ),
}


def _written(value: Tensor) -> Tensor:
    result = value.clone()
    result[:, :2] = 2.0 * value[:, :2]
    return result


@pytest.mark.parametrize("name", list(REFUSED))
def test_an_operator_is_refused_by_name_and_place(name: str) -> None:
    layer, operator, word, _ = REFUSED[name]
    with pytest.raises(Uncovered) as caught:
        import_student(Student(layer).eval(), BINS)
    message = caught.value.message
    assert f"The operator {operator} in blocks.0" in message
    assert word in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REFUSED))
def test_the_suggestion_is_taken(name: str) -> None:
    import_student(Student(REFUSED[name][3]).eval(), BINS)


def test_all_operators_that_are_missing_are_named() -> None:
    layer = nn.Sequential(nn.LayerNorm(BINS), nn.Conv2d(4, 4, 1), nn.ELU())
    with pytest.raises(Uncovered, match=r"layer_norm in blocks\.0\.layer\.0.*elu in blocks\.0\.l"):
        import_student(Student(layer).eval(), BINS)


def test_code_of_the_step_itself_is_placed_behind_a_module() -> None:
    class Own(Student):
        def step(self, features: Tensor, past: Tensor) -> tuple[Tensor, ...]:
            return torch.tanh(self.decoder(self.encoder(past.repeat(1, 2, 1, 1)).exp())), features

    with pytest.raises(Uncovered, match=r"exp in the step itself, behind encoder"):
        import_student(Own(nn.Identity()).eval(), BINS)


def test_what_no_output_needs_may_be_anything() -> None:
    class Idle(Student):
        def step(self, features: Tensor, past: Tensor) -> tuple[Tensor, ...]:
            features.exp().sort()
            return super().step(features, past)

    import_student(Idle(nn.Identity()).eval(), BINS)


def test_a_decision_by_value_is_refused() -> None:
    def decided(value: Tensor) -> Tensor:
        return value if float(value.sum()) > 0.0 else -value

    with pytest.raises(InputError, match=r"torch\.export cannot follow the step"):
        import_student(Student(decided).eval(), BINS)


def test_weights_that_are_not_finite_are_refused() -> None:
    student = Student(nn.Identity())
    with torch.no_grad():
        student.decoder.bias[0] = torch.nan  # type: ignore[index]
    with pytest.raises(InputError, match=r"decoder\.bias holds NaN"):
        import_student(student.eval(), BINS)


class Forgetful(Student):
    """Keeps its past in a buffer instead of a state."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.register_buffer("kept", torch.zeros(1, 3, 1, BINS))

    def initial_states(self) -> dict[str, Tensor]:
        return {}

    def step(self, features: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        assert isinstance(self.kept, Tensor)
        mask, _ = super().step(features, self.kept.clone())
        self.kept.copy_(features)
        return (mask,)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.step(frame)[0] for frame in features.split(1, dim=2)], dim=2)


def test_what_is_remembered_outside_states_is_refused() -> None:
    with pytest.raises(InputError, match="writes into kept"):
        import_student(Forgetful().eval(), BINS)
    with pytest.raises(InputError, match="remembers more than its states"):
        check_student(Forgetful().eval(), BINS)


def _without(method: str) -> nn.Module:
    student = Student(nn.Identity())
    setattr(student, method, None)
    return student


def _with(**methods: object) -> nn.Module:
    student = Student(nn.Identity())
    for name, method in methods.items():
        setattr(student, name, method)
    return student


ODD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no step": (lambda: _without("step"), r"no method step\(\)"),
    "no states": (lambda: _without("initial_states"), r"no method initial_states\(\)"),
    "states in a list": (
        lambda: _with(initial_states=lambda: [torch.zeros(1)]),
        "no dictionary of tensors",
    ),
    "a state with a bad name": (
        lambda: _with(initial_states=lambda: {"the past": torch.zeros(1, 3, 1, BINS)}),
        "cannot be called 'the past'",
    ),
    "a state that is not zero": (
        lambda: _with(initial_states=lambda: {"past": torch.ones(1, 3, 1, BINS)}),
        "does not start as zeros",
    ),
    "a state too few": (
        lambda: _with(step=lambda features, past: (features[:, :2],)),
        "returns 1 tensors; a mask and 1 states are 2",
    ),
    "states in a dictionary": (
        lambda: _with(step=lambda features, past: (features[:, :2], {"past": past})),
        "no flat tuple of tensors",
    ),
    "a state that grows": (
        lambda: _with(
            step=lambda features, past: (features[:, :2], torch.cat([past, features], 2))
        ),
        r"is \[1, 3, 1, 8\] before a step and \[1, 3, 2, 8\] after it",
    ),
    "a mask of other bins": (
        lambda: _with(step=lambda features, past: (features[:, :2, :, :4], past)),
        r"returns a mask \[1, 2, 1, 4\]",
    ),
    "a step that fails": (
        lambda: _with(step=lambda features: (features,)),
        r"step\(\) failed on features",
    ),
    "a forward that fails": (
        lambda: _with(forward=lambda: None),
        r"forward\(\) failed on features",
    ),
    "a forward that returns more": (
        lambda: _with(forward=lambda features: (features[:, :2], None)),
        r"forward\(\) returns no tensor",
    ),
}


@pytest.mark.parametrize("name", list(ODD))
def test_a_student_with_an_odd_interface_is_refused(name: str) -> None:
    make, message = ODD[name]
    with pytest.raises(InputError, match=message) as caught:
        check_student(make().eval(), BINS)
    assert caught.value.hint


MODULE = """
import torch
from torch import nn

class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 2, 1)

    def initial_states(self):
        return {}

    def step(self, features):
        return (torch.tanh(self.mix(features)),)

    def forward(self, features):
        return self.step(features)[0]
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "their_student.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_student_is_built_and_filled(written: Path) -> None:
    first = open_student("their_student:Mask", None, BINS)
    weights = {name: value + 1.0 for name, value in first.state_dict().items()}
    save_file(weights, written / "weights.safetensors")
    second = open_student("their_student:Mask", written / "weights.safetensors", BINS)
    assert not second.training
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, weights[name])


def test_weights_that_do_not_fit_are_refused(written: Path) -> None:
    save_file({"other": torch.zeros(3)}, written / "weights.safetensors")
    with pytest.raises(InputError, match="do not fit the module"):
        open_student("their_student:Mask", written / "weights.safetensors", BINS)
    with pytest.raises(InputError, match="No weights at"):
        open_student("their_student:Mask", written / "absent.safetensors", BINS)


def test_a_factory_that_is_not_there_is_refused(written: Path) -> None:
    with pytest.raises(InputError, match="There is no 'Absent'"):
        open_student("their_student:Absent", None, BINS)
