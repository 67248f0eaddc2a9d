"""Files of any graph: what is read from them, what becomes of odd ones, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.call import Refused
from export.c.generator import generate
from export.c.model import read
from targets.errors import InputError
from tests.export.c.graphs import Edit, Graph
from tests.export.c.support import HOST_COMPILERS, STRICT, compile_c, native, write

needs_compiler = pytest.mark.skipif(not HOST_COMPILERS, reason="no C compiler")
Floats = npt.NDArray[np.float32]


def run(graph: Graph, *inputs: Floats) -> list[Floats]:
    """Outputs, then the states' new values."""
    return native(generate(graph.file())).run(list(inputs))


def values(*numbers: float) -> Floats:
    return np.array(numbers, np.float32)


ONE, TWO = values(1, 2, 3, 4), values(10, 20, 30, 40)


@needs_compiler
def test_inputs_and_outputs_keep_their_order() -> None:
    graph = Graph(inputs=("b", "a"), outputs=("sum", "twice"))
    graph.add("a", "a", "twice")
    graph.add("twice", "b", "sum")
    total, twice = run(graph, TWO, ONE)
    np.testing.assert_array_equal(twice, 2 * ONE)
    np.testing.assert_array_equal(total, 2 * ONE + TWO)


@needs_compiler
def test_outputs_may_be_inputs() -> None:
    graph = Graph(inputs=("a",), outputs=("a", "sum"))
    graph.tensor("c", values=TWO)
    graph.add("a", "c", "sum")
    found = run(graph, ONE)
    for array, expected in zip(found, (ONE, ONE + TWO), strict=True):
        np.testing.assert_array_equal(array, expected)


@needs_compiler
def test_a_delay_line_of_states_moves_on_by_one() -> None:
    """A state that becomes what the input was, and one that becomes what that state was."""
    graph = Graph(
        inputs=("x", "late_in", "latest_in"),
        outputs=("y", "x", "late_in"),
        states={"late_in": "x", "latest_in": "late_in"},
    )
    graph.add("x", "latest_in", "y")
    y, late, latest = run(graph, ONE, TWO, 3 * TWO)
    np.testing.assert_array_equal(y, ONE + 3 * TWO)
    np.testing.assert_array_equal(late, ONE)
    np.testing.assert_array_equal(latest, TWO)


@needs_compiler
def test_two_states_may_follow_one_tensor() -> None:
    graph = Graph(
        inputs=("x", "p_in", "q_in"), outputs=("y", "s"), states={"p_in": "s", "q_in": "s"}
    )
    graph.add("p_in", "q_in", "h")
    graph.add("x", "h", "s")
    graph.add("s", "q_in", "y")
    y, p, q = run(graph, ONE, TWO, 2 * TWO)
    np.testing.assert_array_equal(p, ONE + 3 * TWO)
    np.testing.assert_array_equal(q, p)
    np.testing.assert_array_equal(y, p + 2 * TWO)


def test_operators_that_nothing_needs_are_left_out() -> None:
    graph = Graph(inputs=("a",), outputs=("y",))
    graph.add("a", "a", "unused")
    graph.reshape("unused", "unused too", (2, 2))
    graph.add("a", "a", "y")
    assert [operator.output for operator in generate(graph.file()).operators] == ["y"]


@needs_compiler
def test_names_become_different_identifiers(tmp_path: Path) -> None:
    graph = Graph(inputs=("a b", "a-b", "int", "8", "m"), outputs=("model",))
    graph.add("a b", "a-b", "x")
    graph.add("x", "int", "memory")
    graph.add("memory", "8", "z")
    graph.add("z", "m", "model")
    generated = generate(graph.file())
    labels = [port.label for port in (*generated.inputs, *generated.outputs)]
    assert labels == ["a_b", "a_b_2", "t_int", "t_8", "m_2", "model_2"]
    write(generated.files, tmp_path)
    compile_c(HOST_COMPILERS[0], tmp_path, *STRICT, "-fsyntax-only", "model.c")


def test_options_are_read_by_their_names(tiny_int8: bytes) -> None:
    model = read(tiny_int8)
    conv = model.operators[0]
    assert (conv.name, conv.activation, conv.padding) == ("CONV_2D", "RELU", "SAME")
    assert (conv.integer("stride_w"), conv.integer("dilation_w_factor")) == (4, 1)
    assert [state.name for state in model.states] == ["encoder1", "encoder2", "encoder3", "gru"]
    weight = model.tensor(conv, 1)
    assert weight.constant
    assert len(weight.scales) == len(weight.zero_points) == weight.shape[weight.axis]
    assert model.optional(conv, 3) is None


def chained() -> Graph:
    graph = Graph(inputs=("a",), outputs=("y",))
    graph.add("a", "a", "x")
    graph.add("x", "a", "y")
    return graph


def _tensor(model: Any, name: str) -> Any:
    return next(t for t in model.subgraphs[0].tensors if t.name == name)


def _swap(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def _cycle(model: Any) -> None:
    first, second = model.subgraphs[0].operators
    first.inputs = [second.outputs[0], first.inputs[1]]


def _twice(model: Any) -> None:
    first, second = model.subgraphs[0].operators
    second.outputs = first.outputs


def _subgraphs(model: Any) -> None:
    model.subgraphs = model.subgraphs * 2


def _dynamic(model: Any) -> None:
    _tensor(model, "x").shapeSignature = [-1]


def _huge(model: Any) -> None:
    _tensor(model, "x").shape = [1 << 20, 1 << 20]


def _bool(model: Any) -> None:
    _tensor(model, "x").type = schema.TensorType.BOOL


def _variable(model: Any) -> None:
    _tensor(model, "x").isVariable = True


def _elsewhere(model: Any) -> None:
    model.buffers[0].offset, model.buffers[0].size = 1000, 16


def _unwritten(model: Any) -> None:
    model.subgraphs[0].operators.pop()


REFUSED: dict[str, tuple[Edit, str]] = {
    "order": (_swap, r"ADD \(operator 0, writes 'y'\): it reads 'x' before anything wrote it"),
    "cycle": (_cycle, "reads 'y' before anything wrote it"),
    "written twice": (_twice, "its output already has a value"),
    "subgraphs": (_subgraphs, "2 subgraphs"),
    "dynamic": (_dynamic, "shape of tensor 'x' is not static"),
    "huge": (_huge, "more than 67108864 bytes"),
    "type": (_bool, "'x' is of type BOOL"),
    "variable": (_variable, "'x' is a variable"),
    "elsewhere": (_elsewhere, "outside of the model"),
    "unwritten": (_unwritten, "Nothing writes the output 'y'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused(name: str) -> None:
    edit, reason = REFUSED[name]
    with pytest.raises(Refused, match=reason):
        read(chained().file(edit))


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", bytes(64), b"\x1c\0\0\0TFL3" + b"\xff" * 60, b"\x08\0\0\0TFL3" * 9]
)
def test_other_bytes_are_no_model(content: bytes) -> None:
    for function in (read, generate):
        with pytest.raises(InputError):
            function(content)


@pytest.mark.parametrize(
    "states",
    [{"a": "nowhere"}, {"nowhere": "y"}, {"a": "flat"}],
    ids=["output", "input", "shape"],
)
def test_states_that_do_not_fit_are_refused(states: dict[str, str]) -> None:
    graph = Graph(inputs=("a",), outputs=("y", "flat"), states=states)
    graph.add("a", "a", "y")
    graph.reshape("y", "flat", (2, 2))
    with pytest.raises(InputError):
        read(graph.file())


def test_models_beyond_any_microcontroller_are_refused() -> None:
    graph = Graph(inputs=("a",), outputs=("y",))
    graph.tensor("c", values=np.zeros((5 << 20,), np.float32))
    graph.tensor("a", (5 << 20,))
    graph.tensor("y", (5 << 20,))
    graph.add("a", "c", "y")
    with pytest.raises(Refused, match=r"20,971,520 bytes of constants"):
        generate(graph.file())


def test_integer_inputs_are_refused() -> None:
    graph = Graph(inputs=("a",), outputs=("y",))
    graph.reshape("a", "y")

    def whole(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.type = schema.TensorType.INT32

    with pytest.raises(InputError, match=r"INT32|int32"):
        generate(graph.file(whole))
