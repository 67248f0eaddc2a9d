"""``NAME.c``: constants, then ``init``, ``reset`` and ``step``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from export.c.call import Call, Copies, Copy, Refused, Table
from export.c.constants import Constants
from export.c.naming import Names, Port, member
from export.c.planner import Plan
from export.c.printing import c_type, comment_text
from export.c.program import Action, Program


@dataclass(frozen=True)
class GeneratedOperator:
    """A numbered step of the generated code, as ``NAME_profile`` is called with it."""

    step: int
    operator: str  # "CONV_2D"
    output: str  # tensor name
    kernel: str  # "sordino_conv_s8"; "memcpy" where bytes only move
    macs: int


class Source:
    """Prints the statements of a program."""

    def __init__(self, program: Program, plan: Plan, names: Names) -> None:
        self._program, self._plan, self._names = program, plan, names
        self._constants = Constants(names.name)
        self._labels = {port.buffer: port.label for port in (*names.inputs, *names.outputs)}
        self._body = [self._action(step, action) for step, action in enumerate(program.actions)]

    @property
    def constant_bytes(self) -> int:
        return self._constants.size

    def operators(self) -> Iterator[GeneratedOperator]:
        """The numbered steps that have code."""
        for step, action in enumerate(self._program.actions):
            work = action.work
            if isinstance(work, Copies) and not self._plan.remaining(work.copies):
                continue
            written = self._program.tensors[_written(work)[0]]
            yield GeneratedOperator(
                step,
                _kind(action),
                written.name,
                work.kernel if isinstance(work, Call) else "memcpy",
                work.macs if isinstance(work, Call) else 0,
            )

    def text(self) -> str:
        """The whole file."""
        name, macro = self._names.name, self._names.macro
        tables = "\n\n".join(self._constants.text)
        return f"""\
/* Written by sordino from a TFLite file; change the model, not this. See {name}.h. */
#include "{name}.h"
#include "sordino_kernels.h"

#ifdef {macro}_PROFILE
#define {macro}_BEGIN(step) {name}_profile((step), 0)
#define {macro}_END(step) {name}_profile((step), 1)
#else
#define {macro}_BEGIN(step) ((void)0)
#define {macro}_END(step) ((void)0)
#endif

{tables}

void {name}_init({name}_t *m)
{{
    memset(m, 0, sizeof *m);
    {name}_reset(m);
}}

void {name}_reset({name}_t *m)
{{
{self._reset()}
}}

void {signature(self._names)}
{{
{self._steps()}
}}
{self._accessors()}"""

    def _accessors(self) -> str:
        return "".join(
            f"\n{accessor(self._names, port)}\n{{\n    return "
            f"{self._pointer(port.buffer, port.tensor.dtype, 0)};\n}}\n"
            for port in self._names.states
        )

    def _reset(self) -> str:
        """Every state as the quantized zero."""
        lines = []
        for port in self._names.states:
            zero = port.tensor.zero_points[0] if port.tensor.zero_points else 0
            if zero and port.tensor.dtype != "int8":
                raise Refused(
                    f"The state {port.tensor.name!r} has the zero point {zero}.",
                    hint=f"States of {port.tensor.dtype} have the zero point 0.",
                )
            start = self._pointer(port.buffer, "int8", 0)
            lines.append(f"    memset({start}, {zero}, {port.tensor.nbytes}); /* {port.label} */")
        return "\n".join(lines) if lines else "    (void)m;"

    def _steps(self) -> str:
        lines = [*self._body]
        if not any("m->" in line for line in lines):
            lines.insert(0, "    (void)m;")
        for state, after in self._program.states:
            size = self._program.tensors[state.input].nbytes
            for copy in self._plan.remaining((Copy(after, state.input, size),)):
                title = f"    /* state {comment_text(state.name)} for the next step */"
                lines.append(f"{title}\n{self._move(copy)}")
        return "\n".join(lines)

    def _action(self, step: int, action: Action) -> str:
        """The comment and the statements of one action, between the hooks of profiling."""
        work = action.work
        self._constants.title(f"{step}: {self.describe(action)}")
        statements = (
            [self._call(step, work, action)]
            if isinstance(work, Call)
            else [self._move(copy) for copy in self._plan.remaining(work.copies)]
        )
        comment = f"    /* {step}: {self.describe(action)} */"
        if not statements:
            return comment
        macro = self._names.macro
        begin, end = f"    {macro}_BEGIN({step});", f"    {macro}_END({step});"
        return "\n".join([comment, begin, *statements, end])

    def describe(self, action: Action) -> str:
        """The comment above an action: operator, what it writes, its work, and the bytes that it
        reads and writes, each operand counted once."""
        work = action.work
        tensors = [self._program.tensors[index] for index in _written(work)]
        results = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in tensors)
        text = f"{_kind(action)} -> {results}"
        if isinstance(work, Call) and work.macs:
            text += f", {work.macs} MACs"
        elif isinstance(work, Copies) and not self._plan.remaining(work.copies):
            text += ", in place"
        moved = f"{amount} bytes" if (amount := self._bytes_of(work)) else ""
        return comment_text("; ".join(filter(None, (text, work.note, moved))))

    def _bytes_of(self, work: Call | Copies) -> int:
        """Inputs, outputs and constant tables of a call; both ends of copies that are made."""
        if isinstance(work, Copies):
            return sum(2 * copy.size for copy in self._plan.remaining(work.copies))
        tensors = dict.fromkeys((*work.inputs, *work.outputs))
        tables = [value for _, value in work.params.fields if isinstance(value, Table)]
        return sum(self._program.tensors[index].nbytes for index in tensors) + sum(
            table.nbytes for table in tables
        )

    def _call(self, step: int, call: Call, action: Action) -> str:
        arguments = [f"&{self._constants.params(str(step), call)}"]
        for index in (*call.inputs, *call.outputs):
            arguments.append(self._pointer(index, self._program.tensors[index].dtype, 0))
        if action.scratch is not None:
            arguments.append(self._pointer(action.scratch, "int8", 0))
        return _broken(f"    {call.kernel}(", arguments)

    def _move(self, copy: Copy) -> str:
        start, stop = self._plan.places[copy.source], self._plan.places[copy.destination]
        distance = abs(start.offset + copy.source_offset - stop.offset - copy.destination_offset)
        overlaps = start.owner == stop.owner and distance < copy.size
        target = self._pointer(copy.destination, None, copy.destination_offset)
        source = self._pointer(copy.source, None, copy.source_offset)
        return _broken(
            f"    {'memmove' if overlaps else 'memcpy'}(", [target, source, str(copy.size)]
        )

    def _pointer(self, buffer: int, dtype: str | None, offset: int) -> str:
        """An expression for byte ``offset`` of a buffer, as a pointer to ``dtype``.

        Without ``dtype``, a pointer to whatever its owner holds.
        """
        place = self._plan.places[buffer]
        start = place.offset + offset
        if place.owner is None:
            kind = dtype or "int8"
            return _shifted(f"m->memory.{member(kind)}", start, kind)
        tensor = self._program.tensors[place.owner]
        if tensor.constant:
            assert tensor.data is not None
            table = Table(c_type(tensor.dtype), tensor.data.reshape(-1))
            return _shifted(
                self._constants.table(f"tensor{place.owner}", table), start, tensor.dtype
            )
        return _shifted(self._labels[place.owner], start, tensor.dtype)


def _kind(action: Action) -> str:
    return action.operator.name if action.operator is not None else "COPY"


def _written(work: Call | Copies) -> tuple[int, ...]:
    if isinstance(work, Call):
        return work.outputs
    return tuple(dict.fromkeys(copy.destination for copy in work.copies))


def _shifted(base: str, offset: int, dtype: str) -> str:
    size = {"int8": 1, "int16": 2, "float32": 4, "int32": 4, "int64": 8}[dtype]
    assert offset % size == 0, "tensors start at whole elements"
    return f"{base} + {offset // size}" if offset else base


def _broken(head: str, arguments: list[str]) -> str:
    """A call over as many lines as it needs."""
    lines, line = [], head
    for number, argument in enumerate(arguments):
        text = argument + (", " if number + 1 < len(arguments) else ");")
        if len(line) + len(text.rstrip()) > 100:
            lines.append(line.rstrip())
            line = " " * min(len(head), 16)
        line += text
    return "\n".join([*lines, line])


def signature(names: Names) -> str:
    """The declarator of ``step``: the model, inputs, outputs."""
    macro = names.macro
    parts = [f"{names.name}_t *m"]
    parts += [
        f"const {port.ctype} {port.label}[{macro}_{port.label.upper()}]" for port in names.inputs
    ]
    parts += [f"{port.ctype} {port.label}[{macro}_{port.label.upper()}]" for port in names.outputs]
    return f"{names.name}_step({', '.join(parts)})"


def accessor(names: Names, port: Port) -> str:
    """The declarator of the function that finds a state."""
    return f"{port.ctype} *{names.name}_state_{port.label}({names.name}_t *m)"


def macs(program: Program) -> int:
    """Multiply-accumulates of one step."""
    calls = [action.work for action in program.actions if isinstance(action.work, Call)]
    return sum(call.macs for call in calls)
