"""``torch.export`` of a student's step: the operators in order, each with its place."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from distill.tracing import evaluating
from export.importing.refusals import Place
from targets.errors import InputError

_STUDENT = "student"
_IGNORED = ("_assert_tensor_metadata", "sym_constrain_range")


class _Step(nn.Module):
    """Makes ``step`` what is called, as ``torch.export`` follows a module's forward."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = tuple(self.student.step(features, *states))  # type: ignore[operator]
        return outputs


@dataclass(frozen=True)
class Program:
    """The nodes that compute, the names of what goes in, and the constants by node name.

    ``outputs`` are nodes, mask first, then the states in order.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    constants: dict[str, Tensor]
    outputs: tuple[Node, ...]
    modules: dict[str, nn.Module]


def exported(student: nn.Module, features: Tensor, states: Sequence[Tensor]) -> Program:
    """The program of one step. Raises InputError where torch cannot follow it, or where the step
    writes into a buffer."""
    try:
        with _quiet(), evaluating(student), torch.no_grad():
            program = torch.export.export(_Step(student), (features, *states), strict=False)
    except Exception as error:  # whatever foreign code and torch's tracer raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"torch.export cannot follow the step: {reason.rstrip('.')}.",
            hint="The step must be tensor code: no decisions that depend on values, no numpy.",
        ) from error
    _check_pure(program)
    by_name = {node.name: node for node in program.graph.nodes}
    outputs = [spec.arg.name for spec in program.graph_signature.output_specs]
    given = program.graph_signature.user_inputs
    return Program(
        tuple(node for node in program.graph.nodes if _computes(node)),
        tuple(by_name[str(name)] for name in given),
        _constants(program),
        tuple(by_name[name] for name in outputs),
        dict(student.named_modules()),
    )


def operator_of(node: Node) -> str:
    """Aten's name of what a node computes, in-place variants without their underscore."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(getattr(packet, "__name__", getattr(node.target, "__name__", node.target)))
    return name[:-1] if in_place(node) else name


def in_place(node: Node) -> bool:
    """Whether a node writes into its first operand."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(getattr(packet, "__name__", ""))
    return node.op == "call_function" and name.endswith("_") and not name.endswith("__")


def shown(node: Node) -> str:
    """The operator as torch calls it."""
    return operator_of(node) + "_" * in_place(node)


def place_of(node: Node) -> Place:
    """The module that runs a node; for the step's own code, also the one before it."""
    path = _path(node)
    if path:
        return Place(path)
    pending, seen = list(node.all_input_nodes), set()
    while pending:
        source = pending.pop(0)
        if source in seen:
            continue
        seen.add(source)
        if _path(source):
            return Place("", _path(source))
        pending += source.all_input_nodes
    return Place("")


def _path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix(_STUDENT).removeprefix(".") if paths else ""


def _computes(node: Node) -> bool:
    return node.op == "call_function" and operator_of(node) not in _IGNORED


def _constants(program: ExportedProgram) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    stored = {**program.constants, **program.state_dict}
    for spec in program.graph_signature.input_specs:
        if spec.kind != InputKind.USER_INPUT:
            value = stored.get(str(spec.target))
            if isinstance(value, Tensor):
                found[spec.arg.name] = value.detach()
    return found


def _check_pure(program: ExportedProgram) -> None:
    """A buffer that is written shows as an output or as the operand of an in-place operator."""
    signature = program.graph_signature
    written = [
        str(spec.target)
        for spec in signature.output_specs
        if spec.kind != OutputKind.USER_OUTPUT and spec.target is not None
    ]
    stored = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    written += [
        stored[node.args[0].name]
        for node in program.graph.nodes
        if in_place(node) and isinstance(node.args[0], Node) and node.args[0].name in stored
    ]
    for name in written:
        raise InputError(
            f"The step writes into {name.removeprefix(f'{_STUDENT}.')}, which no device would "
            "carry to the next frame.",
            hint="Take it as a state and return the new one.",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns about attributes of torch's own modules."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
