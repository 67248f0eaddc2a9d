"""Torch's operators one by one: what the step graph computes is what torch computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.calibration import Calibration
from export.executor import StepExecutor
from export.importing.imported import import_student
from export.precision import wide_everywhere
from export.quantization import quantize_graph
from export.step_graph import Concat, Conv2d, StepGraph, Transpose, TransposeConv2d
from export.tflite import write_quantized
from runtime.engines import engine_from_bytes

BINS = 8
CHANNELS = torch.tensor([0.5, -1.5, 2.0])
MATRIX = torch.linspace(-1.0, 1.0, 5 * BINS).sin().reshape(BINS, 5)
LEFT = MATRIX[:3].T
Layer = Callable[[Tensor], Tensor]


class Student(nn.Module):
    """Layers beside each other; each makes one channel of the mask, in which every value counts in
    its place."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        self.modules_of_layers = nn.ModuleList(x for x in layers if isinstance(x, nn.Module))
        self.eval()
        with torch.no_grad():
            counts = [layer(torch.zeros(1, 3, 1, BINS)).numel() for layer in layers]
        self.mixing = nn.ParameterList(torch.randn(BINS, count) / count**0.5 for count in counts)

    def initial_states(self) -> dict[str, Tensor]:
        return {}

    def step(self, features: Tensor) -> tuple[Tensor]:
        rows = [
            functional.linear(layer(features).reshape(1, -1), mixing)
            for layer, mixing in zip(self.layers, self.mixing, strict=True)
        ]
        return (torch.stack(rows, dim=1)[:, :, None],)


class Steps(nn.Module):
    """Layers with parameters, and a function of them."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.function(features, *self.layers)


def _band_first(features: Tensor) -> Tensor:
    """``[bins, 1, 3]``"""
    return features[:, :, 0].permute(2, 0, 1)


def _varied(*sizes: int) -> nn.PReLU:
    activation = nn.PReLU(*sizes)
    nn.init.uniform_(activation.weight, -0.5, 1.5)
    return activation


LAYERS: dict[str, Callable[[], Layer]] = {
    # Arithmetic
    "sums": lambda: lambda x: x + 0.5 - 2.0 * x,
    "alpha": lambda: lambda x: torch.add(x, x * x, alpha=0.3) - torch.sub(x, x.tanh(), alpha=2.0),
    "reversed": lambda: lambda x: 1.0 - x,
    "negated": lambda: lambda x: -x,
    "divided": lambda: lambda x: x / 3.0 + x / torch.tensor([1.0, 2.0, 4.0])[:, None, None],
    "powers": lambda: lambda x: x**2 + x.square() - x.pow(3),
    "absolute": lambda: lambda x: x.abs(),
    "interpolated": lambda: lambda x: torch.lerp(x, x.tanh(), 0.3),
    "multiplied and added": lambda: lambda x: torch.addcmul(x, x, x.tanh(), value=0.5),
    "broadcast channels": lambda: lambda x: x * CHANNELS[:, None, None],
    "broadcast bins": lambda: lambda x: x + MATRIX[:, 0],
    "outer product": lambda: lambda x: x.mean(1, keepdim=True) * x.mean(3, keepdim=True),
    "permuted operands": lambda: (
        lambda x: x[0, :, 0].T + x[0, :, 0].T.tanh().T.flatten().reshape(BINS, 3)
    ),
    "maximum": lambda: lambda x: torch.maximum(x, -x) - torch.minimum(x, x * x),
    "clamped": lambda: lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.0) - x.clamp_max(0.3),
    "mean of bins": lambda: lambda x: x.mean(-1),
    "mean of channels": lambda: lambda x: x.mean(1),
    "mean of all": lambda: lambda x: x.mean(),
    "sum of bins": lambda: lambda x: x.sum(dim=3, keepdim=True),
    "zeros": lambda: lambda x: torch.zeros_like(x) + x,
    # Activations
    "relu": lambda: functional.relu,
    "relu in place": lambda: Steps(lambda x, conv: conv(x).relu_(), nn.Conv2d(3, 4, 1)),
    "relu6": lambda: lambda x: functional.relu6(4 * x),
    "hard tanh": lambda: functional.hardtanh,
    "hard sigmoid": lambda: lambda x: functional.hardsigmoid(2 * x),
    "hard swish": lambda: lambda x: functional.hardswish(2 * x),
    "leaky relu": lambda: lambda x: functional.leaky_relu(x, 0.3),
    "leaky relu, turned": lambda: lambda x: functional.leaky_relu(x, -0.3),
    "many together": lambda: lambda x: torch.cat([x * k for k in range(1, 24)], dim=1),
    "one prelu": lambda: _varied(),
    "prelu": lambda: _varied(3),
    "prelu of rows": lambda: Steps(lambda x, act: act(x[:, :, 0]), _varied(3)),
    "silu": lambda: functional.silu,
    "gelu by tanh": lambda: lambda x: functional.gelu(x, approximate="tanh"),
    "gated": lambda: Steps(lambda x, conv: functional.glu(conv(x), dim=1), nn.Conv2d(3, 8, 1)),
    # Convolutions
    "convolution": lambda: nn.Conv2d(3, 5, (1, 3), padding=(0, 1)),
    "strided": lambda: nn.Conv2d(3, 5, (1, 3), stride=(1, 2), padding=(0, 1)),
    "strided, right edge": lambda: nn.Conv2d(3, 5, (1, 4), stride=(1, 3), padding=(0, 2)),
    "padding same": lambda: nn.Conv2d(3, 5, (1, 4), padding="same"),
    "asymmetric": lambda: Steps(
        lambda x, conv: conv(functional.pad(x, (3, 0))), nn.Conv2d(3, 5, (1, 4))
    ),
    "cropped": lambda: Steps(
        lambda x, conv: conv(functional.pad(x, (-1, 2))), nn.Conv2d(3, 5, (1, 4))
    ),
    "dilated": lambda: nn.Conv2d(3, 5, (1, 3), padding=(0, 2), dilation=(1, 2)),
    "grouped": lambda: nn.Conv2d(3, 6, (1, 3), padding=(0, 1), groups=3),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, (1, 3), groups=4, padding=(0, 1))
    ),
    "grouped in twos": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, (1, 3), groups=2)),
    "along the bins": lambda: Steps(
        lambda x, conv: conv(x[:, :, 0]), nn.Conv1d(3, 4, 3, padding=2, dilation=2)
    ),
    "over bins as channels": lambda: Steps(
        lambda x, conv: conv(x[:, 0].transpose(1, 2)), nn.Conv1d(BINS, 4, 1)
    ),
    "bands as a batch": lambda: Steps(
        lambda x, conv: conv(_band_first(x).transpose(1, 2)), nn.Conv1d(3, 4, 1)
    ),
    "neighbours": lambda: lambda x: functional.unfold(x, (1, 3), padding=(0, 1)),
    "windows": lambda: lambda x: x.unfold(3, 3, 2),
    "averaged": lambda: nn.AvgPool2d((1, 2)),
    "averaged, overlapping": lambda: nn.AvgPool2d((1, 3), (1, 2), (0, 1)),
    "averaged to one": lambda: nn.AdaptiveAvgPool2d((None, 1)),
    "averaged rows": lambda: Steps(lambda x, pool: pool(x[:, :, 0]), nn.AvgPool1d(2)),
    # Upsampling
    "transposed": lambda: nn.ConvTranspose2d(3, 5, (1, 4), (1, 2), (0, 1)),
    "transposed, longer": lambda: nn.ConvTranspose2d(
        3, 5, (1, 3), (1, 2), (0, 1), output_padding=(0, 1)
    ),
    "transposed, whole": lambda: nn.ConvTranspose2d(3, 5, (1, 5), (1, 3)),
    "transposed, no stride": lambda: nn.ConvTranspose2d(3, 6, (1, 3), padding=(0, 1), groups=3),
    "transposed, dilated": lambda: nn.ConvTranspose2d(3, 5, (1, 3), (1, 2), dilation=(1, 2)),
    "transposed, grouped": lambda: nn.ConvTranspose2d(3, 6, (1, 4), (1, 2), (0, 1), groups=3),
    "transposed, depthwise, longer": lambda: nn.ConvTranspose2d(
        3, 3, (1, 5), (1, 3), (0, 1), (0, 2), groups=3
    ),
    "transposed rows": lambda: Steps(
        lambda x, up: up(x[:, :, 0]), nn.ConvTranspose1d(3, 4, 4, 2, 1)
    ),
    "sub-pixel": lambda: Steps(
        lambda x, conv: conv(x).view(1, 2, 4, 1, BINS).permute(0, 2, 3, 4, 1).reshape(1, 4, 1, 16),
        nn.Conv2d(3, 8, 1),
    ),
    "pixel shuffle": lambda: Steps(
        lambda x, conv: functional.pixel_shuffle(conv(x), 2), nn.Conv2d(3, 8, 1)
    ),
    "nearest": lambda: lambda x: functional.interpolate(x, scale_factor=(1, 3)),
    "nearest to a size": lambda: lambda x: functional.interpolate(x, size=(1, 16)),
    "repeated": lambda: lambda x: x.repeat_interleave(2, dim=3) + x.repeat(1, 1, 1, 2),
    # Products
    "linear on bins": lambda: nn.Linear(BINS, 5),
    "linear on channels": lambda: Steps(lambda x, mix: mix(x.permute(0, 2, 3, 1)), nn.Linear(3, 4)),
    "matrix on the right": lambda: lambda x: x @ MATRIX,
    "matrix on the left": lambda: lambda x: LEFT @ x[:, :, 0],
    "mm": lambda: lambda x: torch.mm(x[0, :, 0], MATRIX),
    "addmm": lambda: lambda x: torch.addmm(MATRIX[0], x[0, :, 0], MATRIX),
    # Norms
    "norm behind a convolution": lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)),
    "norm behind a transposed one": lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 5, (1, 2), (1, 2)), nn.BatchNorm2d(5)
    ),
    "norm behind ReLU": lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.BatchNorm2d(5)),
    "norm first": lambda: nn.BatchNorm2d(3),
    "norm without weights": lambda: nn.BatchNorm2d(3, affine=False),
    "norm of rows": lambda: Steps(lambda x, norm: norm(x[:, :, 0]), nn.BatchNorm1d(3)),
    "norm of bins": lambda: Steps(lambda x, norm: norm(x[:, :, 0].mT), nn.BatchNorm1d(BINS)),
    # Recurrence over the bins
    "gru": lambda: Steps(lambda x, gru: gru(_band_first(x))[0], nn.GRU(3, 4)),
    "gru both ways": lambda: Steps(
        lambda x, gru: gru(_band_first(x))[0], nn.GRU(3, 4, bidirectional=True)
    ),
    "gru, two layers": lambda: Steps(
        lambda x, gru: gru(_band_first(x).transpose(0, 1))[0],
        nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    ),
    "gru without bias": lambda: Steps(
        lambda x, gru: gru(_band_first(x))[1], nn.GRU(3, 4, bias=False)
    ),
    "gru of many": lambda: Steps(lambda x, gru: gru(x[0].permute(1, 2, 0))[0], nn.GRU(3, 4)),
    "lstm": lambda: Steps(
        lambda x, lstm: lstm(_band_first(x))[0], nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    ),
    "lstm's memory": lambda: Steps(lambda x, lstm: lstm(_band_first(x))[1][1], nn.LSTM(3, 4)),
    "elman": lambda: Steps(lambda x, rnn: rnn(_band_first(x))[0], nn.RNN(3, 4)),
    "flattened and back": lambda: Steps(
        lambda x, conv, enter, leave: (
            leave(enter(conv(x).flatten(1)).relu()).view(1, 4, 1, BINS) + conv(x)
        ),
        nn.Conv2d(3, 4, 1),
        nn.Linear(4 * BINS, 5),
        nn.Linear(5, 4 * BINS),
    ),
    # Moving
    "flat": lambda: lambda x: x.flatten(1) * torch.arange(24.0),
    "unflattened": lambda: lambda x: x.unflatten(3, (4, 2)).transpose(3, 4).tanh(),
    "shuffled channels": lambda: Steps(
        lambda x, conv: conv(x).view(1, 2, 3, 1, BINS).transpose(1, 2).reshape(1, 6, 1, BINS),
        nn.Conv2d(3, 6, 1),
    ),
    "stacked": lambda: lambda x: torch.stack([x, x.tanh()], dim=2).flatten(1, 2),
    "stacked last": lambda: lambda x: torch.stack([x, x.tanh()], dim=-1),
    "channels together": lambda: lambda x: torch.cat([x, x.tanh()], dim=1),
    "bins together": lambda: lambda x: torch.cat([x, x.tanh(), x], dim=3),
    "split": lambda: lambda x: torch.cat(x.split([1, 2], dim=1)[::-1], dim=1),
    "chunks": lambda: lambda x: torch.cat(x.chunk(3, dim=3)[1:], dim=3),
    "unbound": lambda: lambda x: torch.stack(x.unbind(1)[::-1], dim=1),
    "sliced": lambda: lambda x: x[:, 1:, :, 1:7:2],
    "sliced channels": lambda: lambda x: x[:, ::2],
    "from the end": lambda: lambda x: x[..., -3:],
    "narrowed": lambda: lambda x: x.narrow(3, 2, 4),
    "selected": lambda: lambda x: x[:, 1, 0],
    "expanded": lambda: lambda x: x.mean(1, keepdim=True).expand(1, 4, 1, BINS),
    "expanded like": lambda: lambda x: x * x.mean(3, keepdim=True).expand_as(x),
    "padded": lambda: lambda x: functional.pad(x, (1, 2, 0, 0, 1, 1)),
    "permuted": lambda: lambda x: x.permute(3, 0, 1, 2).squeeze().unsqueeze(1).tanh(),
    "axis moved": lambda: lambda x: x.movedim(1, -1).tanh(),
    "copied": lambda: lambda x: functional.dropout(x.clone().contiguous(), 0.5, False).float(),
}


def _randomised(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for name, low, high in (
                ("weight", 0.5, 1.5),
                ("bias", -0.5, 0.5),
                ("running_mean", -0.5, 0.5),
                ("running_var", 0.3, 2.0),
            ):
                if getattr(module, name) is not None:
                    nn.init.uniform_(getattr(module, name), low, high)
    network.eval()


def _student(names: Sequence[str]) -> Student:
    torch.manual_seed(0)
    student = Student([LAYERS[name]() for name in names])
    _randomised(student)
    return student


GROUPS = [list(LAYERS)[start : start + 12] for start in range(0, len(LAYERS), 12)]
SOME_SLOW = [
    pytest.param(names, id=names[0], marks=[pytest.mark.slow] if index % 3 else [])
    for index, names in enumerate(GROUPS)
]


@pytest.mark.parametrize("names", SOME_SLOW)
def test_the_graph_computes_what_torch_computes(names: list[str]) -> None:
    student = _student(names)
    graph = import_student(student, BINS).graph
    features = torch.randn(5, 3, 1, BINS, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = torch.cat([student.step(frame[None])[0] for frame in features])
    found = StepExecutor(graph).run([features.permute(0, 2, 3, 1).numpy()])[0]
    assert found.shape == (5, 1, BINS, len(names))
    difference = np.abs(found - expected.permute(0, 2, 3, 1).numpy()).max(axis=(0, 1, 2))
    assert [name for name, one in zip(names, difference, strict=True) if not one < 2e-5] == []


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for x86-64 Linux only"
)
@pytest.mark.parametrize("width", ["int8", "int16"])
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_tflm_and_litert_agree_on_every_value(names: list[str], width: str) -> None:
    graph = import_student(_student(names), BINS).graph
    values = np.random.default_rng(0).normal(size=(40, 1, BINS, 3)).astype(np.float32)
    seen = StepExecutor(graph).tensors([values])
    ranges = {name: (float(one.min()), float(one.max())) for name, one in seen.items()}
    wide = wide_everywhere(graph) if width == "int16" else ()
    content = write_quantized(quantize_graph(graph, Calibration(ranges, len(values), ""), wide))
    low, high = (-128, 127) if width == "int8" else (-32767, 32767)
    stored = np.random.default_rng(1).integers(low, high + 1, values.shape).astype(width)
    reference, controller = (
        engine_from_bytes(kind, content) for kind in ("litert-reference", "tflm")
    )
    for frame in stored:
        left, right = (engine.run([frame[None]])[0] for engine in (reference, controller))
        np.testing.assert_array_equal(left, right)


def _graph(name: str) -> StepGraph:
    return import_student(_student([name]), BINS).graph


def _kinds(name: str) -> list[str]:
    """Operators in front of the student's own mixing of all values."""
    return [type(operator).__name__ for operator in _graph(name).operators]


def test_more_tensors_than_tflm_joins_are_joined_in_groups() -> None:
    joined = [one for one in _graph("many together").operators if isinstance(one, Concat)]
    assert [len(one.inputs) for one in joined] == [10, 10, 3, 3]


@pytest.mark.parametrize("name", ["norm behind a convolution", "norm behind a transposed one"])
def test_norms_fold_into_what_is_before_them(name: str) -> None:
    weighted = [
        operator
        for operator in _graph(name).operators
        if isinstance(operator, Conv2d | TransposeConv2d)
    ]
    assert len(weighted) == 2  # the layer and the mixing


def test_a_norm_with_nothing_to_fold_into_is_one_depthwise_convolution() -> None:
    first = _graph("norm behind ReLU").operators[1]
    assert isinstance(first, Conv2d)
    assert first.depthwise
    assert first.weight.shape == (5, 1, 1, 1)


def test_rectifiers_become_part_of_convolutions() -> None:
    conv = _graph("relu in place").operators[0]
    assert isinstance(conv, Conv2d)
    assert conv.activation == "relu"
    assert "Activation" not in _kinds("relu in place")


def test_zeros_in_front_of_a_convolution_become_its_padding() -> None:
    graph = _graph("strided, right edge")
    assert isinstance(graph.operators[0].output.shape, tuple)
    assert "Pad" in _kinds("asymmetric")  # three zeros on one side are no rule of TensorFlow's
    assert "Pad" not in _kinds("convolution")
    assert "Pad" not in _kinds("padding same")


def test_sub_pixel_upsampling_moves_nothing() -> None:
    # One transposition belongs to the mixing, which wants torch's order.
    transposes = [op for op in _graph("sub-pixel").operators if isinstance(op, Transpose)]
    assert len(transposes) <= 1


def test_flattening_in_torchs_order_permutes_weights_instead() -> None:
    assert "Transpose" not in _kinds("flattened and back")


def test_tensors_are_called_after_modules() -> None:
    names = [operator.output.name for operator in _graph("norm behind a convolution").operators]
    assert names[0] == "modules_of_layers.0.0"
    assert len(set(names)) == len(names)
