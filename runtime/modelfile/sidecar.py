"""A sidecar from anyone: what no schema forbids and no denoiser has."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runtime.modelfile.refusal import (
    LARGEST_SIDE,
    LARGEST_TENSORS,
    MOST_RANK,
    Damaged,
    ModelRefused,
    demand,
    shown,
)

if TYPE_CHECKING:
    from runtime.artefact import Sidecar, TensorSpec

LARGEST_SIDECAR: Final = 1 << 20  # bytes; those of this project have some thousand
LARGEST_COUNT: Final = 1 << 53  # whole numbers beyond are no longer exact as floats
LARGEST_RATE: Final = 768_000  # Hz, as for recordings
MOST_OVERLAP: Final = 64  # frames that add to a sample
LONGEST_NAME: Final = 200
MOST_TENSORS: Final = 512
SCALES: Final = (2.0**-126, 2.0**100)  # float32, with room for products
GAINS: Final = (1e-9, 1e9)
QUANTIZED: Final = {"int8": (-128, 127), "int16": (-32768, 32767)}
FILE_NAME: Final = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")  # in the same folder
HINT: Final = "Export the model again."


def check_sidecar(sidecar: Sidecar, file: str) -> None:
    """Refuse numbers and names that would lead astray whoever computes with them.

    ``file`` is the sidecar's name, for the sentence. Raises ModelRefused.
    """
    try:
        _check(sidecar)
    except Damaged as error:
        raise ModelRefused(f"{file} describes no denoiser: {error}.", hint=HINT) from None


def _check(sidecar: Sidecar) -> None:
    for what in ("name", "target"):
        _check_name(what, getattr(sidecar, what))
    _check_tensors("input", sidecar.inputs)
    _check_tensors("output", sidecar.outputs)
    _check_states(sidecar)
    for file in (sidecar.model, *sidecar.sources):
        demand(FILE_NAME.fullmatch(file.file) is not None, f"it names a file {shown(file.file)}")
    network = sidecar.network
    _check_name("preset", network.preset, least=0)
    counts = (network.parameters, network.macs_per_step, sidecar.model.bytes)
    demand(all(0 <= count <= LARGEST_COUNT for count in counts), "it counts beyond all measure")
    demand(
        all(0 <= count <= LARGEST_SIDE for count in sidecar.operators.values()),
        "it has an impossible number of operators",
    )
    for name in sidecar.operators:
        _check_name("name of an operator", name)
    contract = sidecar.contract
    demand(contract.sample_rate <= LARGEST_RATE, f"its rate is beyond {LARGEST_RATE} Hz")
    demand(contract.overlap <= MOST_OVERLAP, f"{contract.overlap} of its frames overlap")
    demand(GAINS[0] <= contract.scale <= GAINS[1], f"it multiplies spectra by {contract.scale:g}")


def _check_states(sidecar: Sidecar) -> None:
    """Each leads from one output to one input of its shape, and only the features are none."""
    entries = {spec.name: spec for spec in sidecar.inputs[1:]}
    exits = {spec.name: spec for spec in sidecar.outputs[1:]}
    for state in sidecar.states:
        _check_name("name of a state", state.name)
        what = f"the state {shown(state.name)}"
        entry, exit_ = entries.pop(state.input, None), exits.pop(state.output, None)
        if entry is None or exit_ is None:
            raise Damaged(f"{what} has no input or output of its own")
        demand(entry.shape == exit_.shape, f"{what} changes its shape")
    demand(not entries, "an input is neither features nor a state")
    names = {state.name for state in sidecar.states}
    demand(len(names) == len(sidecar.states), "two states share one name")


def _check_tensors(kind: str, specs: Sequence[TensorSpec]) -> None:
    demand(0 < len(specs) <= MOST_TENSORS, f"it lists {len(specs)} {kind}s")
    demand(len({spec.name for spec in specs}) == len(specs), f"two {kind}s have one name")
    total = 0
    for spec in specs:
        _check_name(f"name of an {kind}", spec.name)
        what = f"the {kind} {shown(spec.name)}"
        sides = spec.shape
        demand(
            len(sides) <= MOST_RANK and all(0 < side <= LARGEST_SIDE for side in sides),
            f"{what} has an impossible shape",
        )
        total += 4 * math.prod(sides)
        _check_scale(what, spec)
    demand(total <= LARGEST_TENSORS, f"its {kind}s need {total >> 20} MiB of memory")


def _check_scale(what: str, spec: TensorSpec) -> None:
    if spec.dtype not in QUANTIZED:
        demand(spec.scale is None and spec.zero_point is None, f"{what} is float32 and has a scale")
        return
    if spec.scale is None:
        raise Damaged(f"{what} is {spec.dtype} and has no scale")
    demand(SCALES[0] <= spec.scale <= SCALES[1], f"{what} has the scale {spec.scale:g}")
    low, high = QUANTIZED[spec.dtype]
    demand(low <= (spec.zero_point or 0) <= high, f"{what} has a zero point out of range")


def _check_name(what: str, name: str, least: int = 1) -> None:
    demand(
        least <= len(name) <= LONGEST_NAME and name.isprintable(), f"the {what} is {shown(name)}"
    )
