"""ONNX teachers: our own artefacts, whole signals, steps with states, inner tensors, bad files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distill import stft
from distill.teachers.onnx import OnnxTeacher
from distill.teachers.onnx_file import OnnxFile
from distill.teachers.sources import OnnxSignature, OnnxSource
from distill.unet import UNet, UNetConfig
from runtime.stft import StftContract
from targets.errors import InputError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

CONTRACT = StftContract(bins=64)
SAMPLES = 4000


def noise(batch: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, SAMPLES, generator=torch.Generator().manual_seed(1))


def value(name: str, shape: Sequence[int | str]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def constant(name: str, values: Sequence[float]) -> Any:
    return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)


def write(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], *weights: Any
) -> Path:
    graph = helper.make_graph(nodes, "denoiser", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def halving(path: Path, shape: Sequence[int | str]) -> Path:
    """``hidden`` = |x|, ``y`` = x / 2."""
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["y"]),
        helper.make_node("Abs", ["x"], ["hidden"]),
        helper.make_node("Identity", ["hidden"], ["unused"]),
    ]
    return write(path, nodes, [value("x", shape)], [value("y", shape)], constant("half", [0.5]))


def remembering(path: Path, shape: Sequence[int | str]) -> Path:
    """Each step gives half of what the step before it heard."""
    nodes = [
        helper.make_node("Mul", ["memory", "half"], ["y"]),
        helper.make_node("Identity", ["x"], ["memory_out"]),
    ]
    return write(
        path,
        nodes,
        [value("x", shape), value("memory", shape)],
        [value("y", shape), value("memory_out", shape)],
        constant("half", [0.5]),
    )


def teacher(model: Path, contract: StftContract = CONTRACT, **signature: Any) -> OnnxTeacher:
    settings = OnnxSignature(**signature) if signature else None
    return OnnxTeacher(OnnxSource(model=model, signature=settings), contract)


SPECTRA: dict[str, Any] = {
    "input": "spectra",
    "output": "spectra",
    "input_layout": "bftc",
    "output_layout": "bftc",
}
WAVEFORM: dict[str, Any] = {"input": "waveform", "output": "waveform"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[UNet, Path]:
    """A network of ours and its step model with sidecar, as an export leaves it."""
    from export.lowering import lower
    from export.onnx import write_onnx
    from export.students import own_student
    from runtime.artefact import ModelFile, Network, Sidecar, StateSpec, TensorSpec, sha256_of

    torch.manual_seed(0)
    network = UNet(UNetConfig(bins=64, widths=(4, 6), hidden=8, patch=8)).eval()
    graph = lower(network)
    path = tmp_path_factory.mktemp("artefact") / "student-onnx-fp32.onnx"
    path.write_bytes(write_onnx(own_student(network)))
    sidecar = Sidecar(
        name="student",
        target="onnx-fp32",
        model=ModelFile(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path)),
        contract=CONTRACT,
        inputs=tuple(TensorSpec(name=t.name, shape=t.shape) for t in graph.inputs),
        outputs=tuple(TensorSpec(name=t.name, shape=t.shape) for t in graph.outputs),
        states=tuple(
            StateSpec(name=s.name, input=s.input.name, output=s.output.name) for s in graph.states
        ),
        network=Network(preset="custom", parameters=1, macs_per_step=1),
    )
    path.with_suffix(".json").write_text(sidecar.model_dump_json(by_alias=True))
    return network, path


def test_our_own_artefact_needs_no_settings(exported: tuple[UNet, Path]) -> None:
    network, path = exported
    view = teacher(path).view(noise(), ["gru_out"])
    spectra = stft.analyse(CONTRACT, noise())
    with torch.no_grad():
        output = network(stft.features(CONTRACT, spectra))
    expected = stft.apply_mask(CONTRACT, spectra, output.mask)
    assert torch.allclose(view.estimate, expected, atol=1e-5)
    assert torch.allclose(view.taps["gru_out"][:, :, 0], output.latent, atol=1e-5)


def test_our_own_artefact_in_another_contract(exported: tuple[UNet, Path]) -> None:
    _, path = exported
    student = StftContract(hop=128)
    view = teacher(path, student).view(noise(), ["gru_out"])
    assert view.estimate.shape == (2, student.frames(SAMPLES), 257)
    assert view.taps["gru_out"].shape == (2, student.frames(SAMPLES), 1, 8)
    own = teacher(path).denoise(noise()[0].numpy())
    assert np.allclose(teacher(path, student).denoise(noise()[0].numpy()), own, atol=1e-5)


def test_inner_tensors_of_an_artefact_are_listed_and_tapped(exported: tuple[UNet, Path]) -> None:
    network, path = exported
    opened = teacher(path)
    inner = next(name for name in opened.tap_paths() if name.startswith("relu"))
    view = opened.view(noise(), [inner])
    with torch.no_grad():
        features = stft.features(CONTRACT, stft.analyse(CONTRACT, noise()))
        first, _ = network.encoder[0](features, None)
    assert torch.allclose(view.taps[inner], first.permute(0, 2, 3, 1), atol=1e-5)
    assert opened.tap_shapes([inner])[inner] == (8, 4)


@pytest.mark.parametrize(
    ("shape", "signature"),
    [
        (["b", "n"], WAVEFORM),
        ([1, SAMPLES], WAVEFORM),
        ([1, 1, "n"], {**WAVEFORM, "input_layout": "bcs", "output_layout": "bcs"}),
        ([1, 64, "t", 2], SPECTRA),
        ([1, "t", 64, 2], {**SPECTRA, "input_layout": "btfc", "output_layout": "btfc"}),
    ],
)
def test_whole_signals(tmp_path: Path, shape: list[int | str], signature: dict[str, Any]) -> None:
    opened = teacher(halving(tmp_path / "half.onnx", shape), **signature)
    expected = 0.5 * stft.analyse(CONTRACT, noise())[..., :64]
    assert torch.allclose(opened.view(noise(), []).estimate[..., :64], expected, atol=1e-6)


def test_an_inner_tensor_of_a_whole_model(tmp_path: Path) -> None:
    path = halving(tmp_path / "half.onnx", [1, 64, "t", 2])
    opened = teacher(path, **SPECTRA)
    assert opened.tap_paths() == ["y", "hidden", "unused"]
    view = opened.view(noise(), ["hidden:bftc"])
    spectra = stft.analyse(CONTRACT, noise())[..., :64]
    assert torch.allclose(view.taps["hidden:bftc"], torch.view_as_real(spectra).abs(), atol=1e-6)
    assert opened.parameters == 1


@pytest.mark.parametrize(
    ("shape", "signature", "delay"),
    [
        ([1, 64, 1, 2], SPECTRA, 1),
        ([1, 160], WAVEFORM, 160),
        ([1, 256], WAVEFORM, 256),
    ],
)
def test_steps_carry_their_states(
    tmp_path: Path, shape: list[int | str], signature: dict[str, Any], delay: int
) -> None:
    """A model that answers one step late, and is said to, comes out on time."""
    path = remembering(tmp_path / "late.onnx", shape)
    states = {"memory": "memory_out"}
    opened = teacher(path, **signature, states=states, delay=delay)
    expected = 0.5 * stft.analyse(CONTRACT, noise())[..., :64]
    assert torch.allclose(opened.view(noise(), []).estimate[..., :64], expected, atol=1e-6)
    late = teacher(path, **signature, states=states)
    assert not torch.allclose(late.view(noise(), []).estimate[..., :64], expected, atol=1e-3)


def test_constant_inputs_are_fed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y"])]
    path = write(
        tmp_path / "gain.onnx",
        nodes,
        [value("x", [1, "n"]), value("gain", [1])],
        [value("y", [1, "n"])],
    )
    opened = teacher(path, **WAVEFORM, constants={"gain": 0.25})
    assert np.allclose(opened.denoise(noise()[0].numpy()), 0.25 * noise()[0].numpy(), atol=1e-6)
    with pytest.raises(InputError, match="nothing feeds: gain"):
        teacher(path, **WAVEFORM, input_name="x")
    with pytest.raises(InputError, match="has 2 values"):
        teacher(path, **WAVEFORM, constants={"gain": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("signature", "message", "hint"),
    [
        ({"input_name": "z"}, "no input 'z'", "x"),
        ({"output_name": "z"}, "no output 'z'", "y"),
        ({"states": {"m": "y"}}, "no input 'm'", "x"),
        ({"states": {"x": "m"}}, "no output 'm'", "y"),
        ({"constants": {"sr": 1.0}}, "no input 'sr'", "x"),
    ],
)
def test_a_name_that_does_not_exist_lists_those_that_do(
    tmp_path: Path, signature: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        teacher(halving(tmp_path / "half.onnx", [1, "n"]), **WAVEFORM, **signature)
    assert caught.value.hint == f"There are: {hint}."


def test_a_tap_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    opened = teacher(halving(tmp_path / "half.onnx", [1, "n"]), **WAVEFORM)
    with pytest.raises(InputError, match="'hiden'") as caught:
        opened.view(noise(), ["hiden"])
    assert "hidden" in str(caught.value.hint)


def test_nothing_is_guessed_without_sidecar_or_signature(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Nothing says what") as caught:
        teacher(halving(tmp_path / "half.onnx", [1, "n"]))
    assert "signature" in str(caught.value.hint)


def test_an_altered_artefact_is_refused(exported: tuple[UNet, Path], tmp_path: Path) -> None:
    _, path = exported
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes() + b"\x00\x00")
    copy.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())
    with pytest.raises(InputError):
        teacher(copy)


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes | None) -> None:
    path = halving(tmp_path / "half.onnx", [1, "n"])
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(InputError) as caught:
        teacher(path, **WAVEFORM)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="No ONNX file"):
        teacher(tmp_path / "missing.onnx", **WAVEFORM)


def test_a_model_cut_anywhere(tmp_path: Path) -> None:
    path = halving(tmp_path / "half.onnx", [1, "n"])
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            teacher(path, **WAVEFORM)


def test_an_operator_nobody_knows(tmp_path: Path) -> None:
    nodes = [helper.make_node("Denoise", ["x"], ["y"], domain="nobody")]
    path = write(tmp_path / "odd.onnx", nodes, [value("x", [1, "n"])], [value("y", [1, "n"])])
    with pytest.raises(InputError, match="cannot load") as caught:
        teacher(path, **WAVEFORM)
    assert "\n" not in str(caught.value)


def test_an_input_of_another_shape_is_one_sentence(tmp_path: Path) -> None:
    opened = teacher(halving(tmp_path / "half.onnx", [1, 17]), **WAVEFORM)
    with pytest.raises(InputError, match=r"failed on x \[1, 4000\]") as caught:
        opened.view(noise(), [])
    assert "\n" not in str(caught.value)


def test_complex_inputs_are_refused(tmp_path: Path) -> None:
    opened = teacher(halving(tmp_path / "half.onnx", [1, "t", 64]), input="spectra", output="mask")
    with pytest.raises(InputError, match="no complex numbers"):
        opened.view(noise(), [])


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    nodes = [helper.make_node("Div", ["x", "zero"], ["y"])]
    path = write(
        *(tmp_path / "nan.onnx", nodes, [value("x", [1, "n"])], [value("y", [1, "n"])]),
        constant("zero", [0.0]),
    )
    with pytest.raises(InputError, match="not finite"):
        teacher(path, **WAVEFORM).view(noise(), [])


def outside(folder: Path, location: str) -> Path:
    """A model whose weight ``half`` lies in another file."""
    folder.mkdir(exist_ok=True)
    weight = TensorProto(name="half", data_type=TensorProto.FLOAT, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    nodes = [helper.make_node("Mul", ["x", "half"], ["y"])]
    shape: list[int | str] = [1, "n"]
    return write(folder / "m.onnx", nodes, [value("x", shape)], [value("y", shape)], weight)


def test_weights_beside_the_model_are_read_and_part_of_the_key(tmp_path: Path) -> None:
    path = outside(tmp_path / "m", "w.bin")
    with pytest.raises(InputError, match="missing"):
        teacher(path, **WAVEFORM)
    keys = []
    for gain in (0.5, 0.25):
        (path.parent / "w.bin").write_bytes(np.float32(gain).tobytes())
        opened = teacher(path, **WAVEFORM)
        keys.append(opened.key)
        assert np.allclose(opened.denoise(noise()[0].numpy()), gain * noise()[0].numpy(), atol=1e-6)
    assert keys[0] != keys[1]


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_weights_outside_the_models_folder_are_not_read(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.float32(0.5).tobytes())
    location = {"above": "../secret.bin", "absolute": str(secret), "link": "link.bin"}[kind]
    path = outside(tmp_path / "m", location)
    os.symlink(secret, path.parent / "link.bin")
    with pytest.raises(InputError, match="outside its own folder"):
        teacher(path, **WAVEFORM)


def test_outside_weights_of_inner_graphs_and_attributes_are_checked(tmp_path: Path) -> None:
    hidden = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/hostname")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=hidden)], "branch", [], [value("c", [1])]
    )
    nodes = [
        helper.make_node("If", ["yes"], ["k"], then_branch=branch, else_branch=branch),
        helper.make_node("Mul", ["x", "k"], ["y"]),
    ]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    shape: list[int | str] = [1, "n"]
    path = write(tmp_path / "m.onnx", nodes, [value("x", shape)], [value("y", shape)], yes)
    with pytest.raises(InputError, match="outside its own folder"):
        OnnxFile(path)
