"""Any ONNX denoiser as a teacher: whole signals, or frame by frame with its states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.taps import canonical, parse_tap, require_tap
from distill.teachers.adapter import Adapter
from distill.teachers.keys import digest
from distill.teachers.onnx_file import Array, OnnxFile, Session
from distill.teachers.sources import OnnxSignature, OnnxSource
from distill.teachers.trial import denoise, trial_shapes
from distill.views import TapShape, View
from runtime.artefact import load_artefact, sidecar_path
from runtime.stft import StftContract
from targets.errors import InputError

_CPU = torch.device("cpu")


class OnnxTeacher:
    """An ONNX file run by ONNX Runtime on the CPU, one signal at a time; slow, so best cached.

    Taps are names of tensors, inner ones included, with a layout behind a colon where it is not
    the usual one. An artefact of sordino needs no signature, nor layouts for its outputs.
    """

    def __init__(self, source: OnnxSource, contract: StftContract) -> None:
        self._contract = contract
        self._file = OnnxFile(source.model)
        self._signature = source.signature or _signature_of_artefact(source)
        self._sessions: dict[tuple[str, ...], Session] = {}
        session = self._session(())
        # Tensors at the border of an artefact have the channels last.
        self._known_layouts = {} if source.signature else dict.fromkeys(session.outputs, "btfc")
        self._input, self._output = _ends(self._signature, session)
        self._constants = _constants(self._signature, session)
        self._adapter = Adapter(contract, self._signature)
        self.name = source.model.stem
        self.parameters: int | None = self._file.parameters
        self.key = digest(
            {
                "kind": "onnx",
                "files": self._file.digests,
                "signature": self._signature.model_dump(mode="json"),
            }
        )

    def tap_paths(self) -> list[str]:
        return self._file.tensors

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        return trial_shapes(self, self._contract, paths)

    @torch.no_grad()
    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        for path in paths:
            require_tap(path, self._file.tensors, "ONNX teacher")
        session = self._session(tuple(sorted({parse_tap(path).path for path in paths})))
        views = [self._view(session, row[None], paths) for row in noisy]
        return View(
            torch.cat([view.estimate for view in views]),
            {path: torch.cat([view.taps[path] for view in views]) for path in paths},
        )

    def denoise(self, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return denoise(self, self._contract, noisy)

    def _session(self, tensors: tuple[str, ...]) -> Session:
        if tensors not in self._sessions:
            self._sessions[tensors] = self._file.open(tensors)
        return self._sessions[tensors]

    def _view(self, session: Session, noisy: Tensor, paths: Sequence[str]) -> View:
        prepared = self._adapter.prepare(noisy, _CPU)
        run = self._steps if self._signature.states else self._whole
        output, taps = run(session, prepared.tensor, paths)
        return self._adapter.view(prepared, output, taps)

    def _whole(
        self, session: Session, value: Tensor, paths: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        feed = {self._input: _typed(session, self._input, value), **self._constants}
        names = {path: parse_tap(path).path for path in paths}
        results = session.run(list(dict.fromkeys([self._output, *names.values()])), feed)
        taps = {path: self._tap(results[name], path) for path, name in names.items()}
        return _real(results[self._output]), taps

    def _steps(
        self, session: Session, value: Tensor, paths: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Frame by frame, or block by block of a waveform, each state fed back."""
        signature = self._signature
        names = {path: parse_tap(path).path for path in paths}
        wanted = list(dict.fromkeys([self._output, *signature.states.values(), *names.values()]))
        axis = _time_axis(signature.input_axes)
        feed = {**self._constants, **_zero_states(session, signature)}
        outputs: list[Array] = []
        taps: dict[str, list[Tensor]] = {path: [] for path in paths}
        for piece in _pieces(value, axis, self._step_length(session)):
            feed[self._input] = _typed(session, self._input, piece)
            results = session.run(wanted, feed)
            for entry, exit_ in signature.states.items():
                feed[entry] = results[exit_]
            outputs.append(results[self._output])
            for path, name in names.items():
                taps[path].append(self._tap(results[name], path))
        along = _time_axis(signature.output_axes)
        out = torch.cat([_real(output) for output in outputs], dim=along)
        out = out.narrow(along, 0, min(value.shape[axis], out.shape[along]))
        return out, {path: torch.cat(frames, dim=1) for path, frames in taps.items()}

    def _tap(self, value: Array, path: str) -> Tensor:
        """``value`` as ``[1, time, frequency, channels]``."""
        name, layout = parse_tap(path)
        tensor, layout = _real(value), layout or self._known_layouts.get(name, "")
        if self._signature.states and tensor.dim() == 2 and not layout:
            tensor = tensor[:, None]  # [1, channels] of one step
        return canonical(tensor, f"{name}:{layout}" if layout else path)

    def _step_length(self, session: Session) -> int:
        """Frames (one) or samples (as the model states) of a step."""
        if self._signature.input != "waveform":
            return 1
        length = session.inputs[self._input][0][_time_axis(self._signature.input_axes)]
        if not isinstance(length, int):
            raise InputError(
                f"The ONNX teacher leaves open how many samples {self._input!r} takes at a time.",
                hint="A streaming model of waveforms needs a fixed block length.",
            )
        return length


def _signature_of_artefact(source: OnnxSource) -> OnnxSignature:
    """What the sidecar of an exported model says."""
    if not sidecar_path(source.model).is_file():
        raise InputError(
            f"Nothing says what {source.model} takes and gives.",
            hint="State `signature: {input: …, output: …}` beside `model`.",
        )
    sidecar = load_artefact(source.model).sidecar
    return OnnxSignature(
        input="features",
        output="mask",
        input_layout="btfc",
        output_layout="btfc",
        contract=sidecar.contract,
        input_name=sidecar.inputs[0].name,
        output_name=sidecar.outputs[0].name,
        states={state.input: state.output for state in sidecar.states},
    )


def _ends(signature: OnnxSignature, session: Session) -> tuple[str, str]:
    """Names of the input for the mixture and of the output with the estimate.

    Raises InputError, listing what there is, for any name of the signature that does not exist.
    """
    inputs, outputs = list(session.inputs), session.outputs
    _require("input", [*signature.states, *signature.constants], inputs)
    _require("output", [*signature.states.values()], outputs)
    fed = {*signature.states, *signature.constants}
    free = [name for name in inputs if name not in fed]
    entry = signature.input_name or (free[0] if free else "")
    _require("input", [entry], inputs)
    others = [name for name in free if name != entry]
    if others:
        raise InputError(
            f"The ONNX teacher has inputs that nothing feeds: {', '.join(others)}.",
            hint="Name them under `states` (input: output), `constants`, or as `input_name`.",
        )
    results = [name for name in outputs if name not in signature.states.values()]
    end = signature.output_name or (results[0] if results else "")
    _require("output", [end], outputs)
    return entry, end


def _require(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(
                f"The ONNX teacher has no {what} {name!r}.",
                hint=f"There are: {', '.join(known)}.",
            )


def _constants(signature: OnnxSignature, session: Session) -> dict[str, Array]:
    """Constant inputs in the type and number of axes that the model states."""
    values = {}
    for name, value in signature.constants.items():
        shape = [size if isinstance(size, int) else -1 for size in session.inputs[name][0]]
        array = np.asarray(value, dtype=session.dtype(name))
        try:
            values[name] = array.reshape(shape)
        except ValueError as error:
            raise InputError(
                f"The constant {name!r} has {array.size} values; the model wants {shape}.",
                hint="Give as many numbers as that input holds.",
            ) from error
    return values


def _zero_states(session: Session, signature: OnnxSignature) -> dict[str, Array]:
    """States before the first frame; an axis without a stated length is the batch of one."""
    return {
        name: np.zeros(
            [size if isinstance(size, int) else 1 for size in session.inputs[name][0]],
            dtype=session.dtype(name),
        )
        for name in signature.states
    }


def _pieces(value: Tensor, axis: int, length: int) -> list[Tensor]:
    """``value`` cut along ``axis`` into pieces of ``length``, the last one filled with zeros."""
    missing = -value.shape[axis] % length
    if missing:
        shape = list(value.shape)
        shape[axis] = missing
        value = torch.cat((value, value.new_zeros(shape)), dim=axis)
    return list(value.split(length, dim=axis))


def _time_axis(axes: str) -> int:
    return axes.index("s" if "s" in axes else "t")


def _typed(session: Session, name: str, value: Tensor) -> Array:
    if value.is_complex():
        raise InputError(
            "An ONNX teacher takes no complex numbers.",
            hint="Say where real and imaginary parts lie: `input_layout: bftc` or `bctf`.",
        )
    return value.numpy().astype(session.dtype(name), copy=False)


def _real(value: Array) -> Tensor:
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
