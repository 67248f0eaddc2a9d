"""From a TFLite file to C99: ``NAME.c``, ``NAME.h`` and ``sordino_kernels.h``, and the audio path
around it.

The same file gives the same bytes. What the C computes is bit for bit what TensorFlow Lite for
Microcontrollers computes with its reference kernels; a model of which that is not known is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from export.c.audio.generator import audio_path
from export.c.call import Call
from export.c.header import header_text
from export.c.kernel_files import kernel_header
from export.c.model import read
from export.c.naming import Port, names_of
from export.c.planner import plan
from export.c.program import program_of
from export.c.source import GeneratedOperator, Source, macs
from runtime.contract import StftContract
from runtime.modelfile.check import check_model
from targets.errors import InputError

_WORD = 8  # the struct is aligned to it, so its size is a multiple
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class GeneratedPort:
    """An input, output or state. ``label`` is its name in C; ``offset`` that of a state."""

    label: str
    name: str  # of the tensor in the file
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    offset: int | None = None


@dataclass(frozen=True)
class GeneratedC:
    """The files, and figures of what they need on a device."""

    name: str
    files: Mapping[str, bytes]
    ram_bytes: int  # of the struct NAME_t: states and intermediate results
    least_ram_bytes: int  # that any plan with this order of operators would need
    constant_bytes: int  # of tables; structs of parameters counted with 4 bytes a field
    state_bytes: int
    macs: int
    inputs: tuple[GeneratedPort, ...]
    outputs: tuple[GeneratedPort, ...]
    states: tuple[GeneratedPort, ...]
    operators: tuple[GeneratedOperator, ...]
    audio_ram_bytes: int = 0  # of the struct NAME_audio_t beside ram_bytes; 0 without an audio path
    audio_constant_bytes: int = 0


def generate(model: bytes, name: str = "model", contract: StftContract | None = None) -> GeneratedC:
    """C99 for a TFLite file; ``name`` is the prefix of all it defines.

    With a ``contract``, the audio path of :func:`export.c.audio.generator.audio_path` as well.
    Raises InputError for a name that is no lower-case C identifier or bytes that are no TFLite
    file, and Refused, which names operator and reason, for a model that is not taken.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a C model.",
            hint="Use lower-case letters, digits and underscores, 31 at most.",
        )
    check_model(model, ".tflite")
    program = program_of(read(model))
    planned = plan(program.problem)
    names = names_of(program, planned, name)
    source = Source(program, planned, names)
    ram = max(_WORD, -(-planned.size // _WORD) * _WORD)
    headers = [action.work.header for action in program.actions if isinstance(action.work, Call)]
    header = header_text(names, ram, source.constant_bytes, macs(program))
    texts = {
        f"{name}.c": source.text(),
        f"{name}.h": header,
        "sordino_kernels.h": kernel_header(headers),
    }
    audio = audio_path(names, contract) if contract else None
    if audio:
        texts |= audio.files
    return GeneratedC(
        name=name,
        files=MappingProxyType({file: text.encode() for file, text in texts.items()}),
        ram_bytes=ram,
        least_ram_bytes=planned.lower_bound,
        constant_bytes=source.constant_bytes,
        state_bytes=sum(port.tensor.nbytes for port in names.states),
        macs=macs(program),
        inputs=tuple(_port(port) for port in names.inputs),
        outputs=tuple(_port(port) for port in names.outputs),
        states=tuple(_port(port, port.place.offset) for port in names.states),
        operators=tuple(source.operators()),
        audio_ram_bytes=audio.ram_bytes if audio else 0,
        audio_constant_bytes=audio.constant_bytes if audio else 0,
    )


def _port(port: Port, offset: int | None = None) -> GeneratedPort:
    tensor = port.tensor
    return GeneratedPort(
        label=port.label,
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        scale=tensor.scales[0] if tensor.scales else None,
        zero_point=tensor.zero_points[0] if tensor.zero_points else None,
        offset=offset,
    )
