"""Names of everything in the generated C: ports, states, and where each buffer is reached."""

from __future__ import annotations

from dataclasses import dataclass

from export.c.call import CType
from export.c.model import CTensor
from export.c.planner import Place, Plan
from export.c.printing import c_type, identifier
from export.c.program import Program

_MEMBERS: dict[str, str] = {"int8": "s8", "int16": "s16", "float32": "f32"}
# Macros NAME_… that are no port's.
_MACROS = {"h", "memory", "struct_bytes", "constant_bytes", "macs", "profile", "steps", "state"}


@dataclass(frozen=True, eq=False)
class Port:
    """An input, output or state of the generated step."""

    label: str  # C identifier: "features"
    tensor: CTensor
    buffer: int
    place: Place

    @property
    def ctype(self) -> CType:
        return c_type(self.tensor.dtype)


@dataclass(frozen=True, eq=False)
class Names:
    """``name`` is the prefix of all, ``constants`` the tables of constant buffers."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]

    @property
    def macro(self) -> str:
        return self.name.upper()


def names_of(program: Program, plan: Plan, name: str) -> Names:
    """Labels made from tensor names, all different."""
    taken = {"m", name, *_MACROS}

    def port(label: str, buffer: int) -> Port:
        return Port(identifier(label, taken), program.tensors[buffer], buffer, plan.places[buffer])

    tensors = program.model.tensors
    inputs = tuple(port(tensors[index].name, index) for index in program.model.inputs)
    outputs = tuple(
        port(tensors[index].name, buffer)
        for index, buffer in zip(program.model.outputs, program.outputs, strict=True)
    )
    states = tuple(port(state.name, state.input) for state, _ in program.states)
    return Names(name, inputs, outputs, states)


def member(dtype: str) -> str:
    """The member of the memory union through which elements of a type are reached."""
    return _MEMBERS.get(dtype, "s8")
