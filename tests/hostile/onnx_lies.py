"""Well-formed ONNX files that ask for what no denoiser needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen, specimen

Edit = Callable[[Any], None]
Lie = tuple[str, str, Edit]
FAR = 2**31 - 1
OUTSIDE = (
    *("../../etc/passwd", "/etc/passwd", "weights.bin", "model.json", "~/.ssh/id_ed25519"),
    *("\\\\server\\share", "file:///dev/zero", "/proc/self/mem"),
)


def onnx_lies(base: Base) -> Iterator[Specimen]:
    """Every lie of this module told by ``base``."""
    for group in _groups():
        for family, name, edit in group:
            model = onnx.load_model_from_string(base.content)
            edit(model)
            yield specimen(base, family, name, model.SerializeToString())
    for depth in (100, 5000):
        content = base.content + _nested(depth)
        yield specimen(base, "nested messages", f"{depth} deep", content)


def _groups() -> list[Iterator[Lie]]:
    return [
        *(_outside(), _control_flow(), _weights(), _sides(), _orders(), _arities(), _attributes()),
        *(_header(), _bombs()),
    ]


def _outside() -> Iterator[Lie]:
    def move(model: Any, place: str) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", "0"), ("length", "48")):
            weight.external_data.add(key=key, value=value)

    for place in OUTSIDE:
        yield "external data", place, partial(move, place=place)


def _body(depth: int) -> Any:
    """A graph that holds a graph, and so on."""
    node = helper.make_node("Identity", ["features"], ["inner"])
    for _ in range(depth):
        graph = helper.make_graph(
            [node], "g", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])]
        )
        node = helper.make_node("If", ["condition"], ["inner"], then_branch=graph)
    return node


def _control_flow() -> Iterator[Lie]:
    for depth in (1, 5, 20):

        def branch(model: Any, depth: int = depth) -> None:
            model.graph.node.insert(0, _body(depth))

        yield "control flow", f"If, {depth} deep", branch
    for kind in ("Loop", "Scan", "SequenceMap"):

        def loop(model: Any, kind: str = kind) -> None:
            body = helper.make_graph([], "body", [], [])
            model.graph.node.insert(0, helper.make_node(kind, ["features"], ["x"], body=body))

        yield "control flow", kind, loop
    for kind in (
        *("NonZero", "RandomNormal", "Range", "ConstantOfShape", "Shape", "StringConcat", "Unique"),
        *("SequenceConstruct", "OptionalGetElement", "ImageDecoder", "Evil", "", "Conv\x1b[31m"),
    ):
        edit = partial(_insert, node=helper.make_node(kind, ["features"], ["x"]))
        yield "unknown operator", repr(kind), edit
    for domain in ("evil.example", "com.microsoft", "ai.onnx.ml", "ai.onnx.training"):
        node = helper.make_node("Relu", ["features"], ["x"], domain=domain)
        yield "custom domain", domain, partial(_insert, node=node)

    def function(model: Any) -> None:
        opset = [helper.make_opsetid("", 18)]
        call = helper.make_node("F", ["x"], ["y"], domain="own")
        model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [call], opset))

    yield "control flow", "a function that calls itself", function


def _insert(model: Any, node: Any) -> None:
    model.graph.node.insert(0, node)


def _weights() -> Iterator[Lie]:
    for dims in (
        *([FAR, FAR], [1 << 40], [-1, 3], [2, 3, 2, 2], [2**62, 4], [1] * 20, [], [0, 3, 2, 1]),
        *([1 << 20, 1 << 20, 1 << 24], [3, 3, 2, 1]),
    ):

        def reshape(model: Any, dims: list[int] = dims) -> None:
            del model.graph.initializer[0].dims[:]
            model.graph.initializer[0].dims.extend(dims)

        yield "wrong weight", f"dimensions {dims}", reshape
    for kind in (0, 8, 11, 14, 15, 99, -1):

        def retype(model: Any, kind: int = kind) -> None:
            model.graph.initializer[0].data_type = kind

        yield "wrong weight", f"type {kind}", retype

    def cut(model: Any) -> None:
        model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]

    def double(model: Any) -> None:
        model.graph.initializer[0].float_data.extend([1.0] * 12)

    def same_name(model: Any) -> None:
        model.graph.initializer[1].name = model.graph.initializer[0].name

    def sparse(model: Any) -> None:
        model.graph.sparse_initializer.add()

    yield "wrong weight", "a byte too few", cut
    yield "wrong weight", "stored twice", double
    yield "wrong weight", "two of one name", same_name
    yield "wrong weight", "sparse", sparse


def _sides() -> Iterator[Lie]:
    for end in ("input", "output"):
        for side in (0, -1, FAR, 1 << 40, 2**62):

            def resize(model: Any, side: int, end: str = end) -> None:
                shape = getattr(model.graph, end)[0].type.tensor_type.shape
                shape.dim[2].dim_value = side

            yield "wrong shape", f"{end} with a side of {side}", partial(resize, side=side)

        def symbolic(model: Any, end: str = end) -> None:
            shape = getattr(model.graph, end)[0].type.tensor_type.shape
            shape.dim[0].dim_param = "batch"

        def unknown(model: Any, end: str = end) -> None:
            getattr(model.graph, end)[0].type.tensor_type.ClearField("shape")

        def sequence(model: Any, end: str = end) -> None:
            kind = getattr(model.graph, end)[0].type
            kind.sequence_type.elem_type.tensor_type.elem_type = 1

        def strings(model: Any, end: str = end) -> None:
            getattr(model.graph, end)[0].type.tensor_type.elem_type = TensorProto.STRING

        def deep(model: Any, end: str = end) -> None:
            shape = getattr(model.graph, end)[0].type.tensor_type.shape
            for _ in range(1000):
                shape.dim.add(dim_value=1)

        for name, edit in (
            *(("symbolic", symbolic), ("unknown", unknown), ("a sequence", sequence)),
            *(("strings", strings), ("of rank 1004", deep)),
        ):
            yield "wrong shape", f"{end}: {name}", edit


def _orders() -> Iterator[Lie]:
    def reverse(model: Any) -> None:
        nodes = list(reversed(model.graph.node))
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    def cycle(model: Any) -> None:
        model.graph.node[0].input[0] = model.graph.node[3].output[0]

    def itself(model: Any) -> None:
        model.graph.node[1].input[0] = model.graph.node[1].output[0]

    def twice(model: Any) -> None:
        model.graph.node[1].output[0] = model.graph.node[0].output[0]

    def onto_weight(model: Any) -> None:
        model.graph.node[1].output[0] = model.graph.initializer[0].name

    def lost(model: Any) -> None:
        del model.graph.node[3]

    def nobody(model: Any) -> None:
        model.graph.node[0].input[0] = "nobody"

    for name, edit in (
        *(("all reversed", reverse), ("first from last", cycle), ("from itself", itself)),
        *(("nothing computes the mask", lost), ("from nobody", nobody)),
    ):
        yield "cycle", name, edit
    yield "written twice", "two nodes", twice
    yield "written twice", "a weight", onto_weight


def _arities() -> Iterator[Lie]:
    def crowd(model: Any) -> None:
        model.graph.node[0].input.extend(["features"] * 600)

    def unlike(model: Any) -> None:
        """ONNX Runtime 1.31 aborts on it."""
        node = helper.make_node("Split", ["features"], ["left", "right"], axis=2, num_outputs=1)
        model.graph.node.append(node)
        _add_to_mask(model, "right")

    def lack(model: Any, kind: str) -> None:
        """ONNX Runtime 1.31 follows the pointer that is not there."""
        attributes = {"equation": "abcd,de->abce"} if kind == "Einsum" else {}
        node = helper.make_node(kind, ["features", ""], ["lacking"], **attributes)
        model.graph.node.append(node)
        _add_to_mask(model, "lacking")

    yield "wrong arity", "602 inputs", crowd
    for kind in ("Einsum", "LayerNormalization", "MatMul", "Add", "Reshape"):
        yield "wrong arity", f"{kind} lacks an input", partial(lack, kind=kind)
    yield "wrong arity", "two parts instead of one", unlike


def _attributes() -> Iterator[Lie]:
    for name, value in (
        *(("strides", [0, 1]), ("strides", [-1, 1]), ("strides", [FAR, 1]), ("group", 0)),
        *(("dilations", [0, 1]), ("dilations", [FAR, FAR]), ("pads", [-1, 0, 0, 0])),
        *(("pads", [FAR, FAR, FAR, FAR]), ("kernel_shape", [0, 0]), ("kernel_shape", [FAR, 1])),
        *(("group", -1), ("group", 2**62), ("alpha", float("nan")), ("auto_pad", ["a", "b"])),
    ):

        def attribute(model: Any, name: str = name, value: Any = value) -> None:
            model.graph.node[2].attribute.append(helper.make_attribute(name, value))

        yield "absurd attribute", f"{name} {value}", attribute

    def graphs(model: Any) -> None:
        model.graph.node[0].attribute.add(name="g", type=onnx.AttributeProto.GRAPH)
        model.graph.node[0].attribute[-1].g.name = "x"

    def reference(model: Any) -> None:
        model.graph.node[0].attribute.add(name="axis", ref_attr_name="evil", type=2)

    yield "absurd attribute", "a graph", graphs
    yield "absurd attribute", "by reference", reference


def _header() -> Iterator[Lie]:
    for version in (0, 1, 99, 2**62, -1):

        def ir(model: Any, version: int = version) -> None:
            model.ir_version = version

        def opset(model: Any, version: int = version) -> None:
            model.opset_import[0].version = version

        yield "wrong version", f"IR {version}", ir
        yield "wrong version", f"operators {version}", opset

    def none(model: Any) -> None:
        del model.opset_import[:]

    def two(model: Any) -> None:
        model.opset_import.add(domain="", version=19)

    def training(model: Any) -> None:
        model.training_info.add()

    def empty(model: Any) -> None:
        model.ClearField("graph")

    yield "wrong version", "no operators named", none
    yield "wrong version", "two sets of operators", two
    yield "control flow", "training", training
    yield "empty part", "graph", empty


def _bombs() -> Iterator[Lie]:
    """Small files whose inner tensors, or sums of products, are beyond all measure."""

    def grow(model: Any, kind: str, values: list[int]) -> None:
        _constant(model, "sizes", values)
        model.graph.node.append(helper.make_node(kind, ["features", "sizes"], ["swollen"]))
        _add_to_mask(model, "swollen")

    for kind, values in (
        *(("Expand", [1 << 20, 1 << 20, 32, 3]), ("Tile", [1 << 15, 1 << 15, 1, 1])),
        ("Pad", [0, 0, 0, 0, 1 << 20, 1 << 10, 0, 0]),
    ):
        yield "memory bomb", f"{kind} {values}", partial(grow, kind=kind, values=values)

    def square(model: Any, times: int) -> None:
        """Each round squares the number of elements."""
        _constant(model, "column", [-1, 1])
        _constant(model, "row", [1, -1])
        name = "features"
        for number in range(times):
            for shape in ("column", "row"):
                node = helper.make_node("Reshape", [name, shape], [f"{shape}{number}"])
                model.graph.node.append(node)
            factors = [f"column{number}", f"row{number}"]
            name = f"product{number}"
            model.graph.node.append(helper.make_node("MatMul", factors, [name]))
        _add_to_mask(model, name)

    for times in (2, 3, 4, 20):
        yield "memory bomb", f"squared {times} times", partial(square, times=times)

    def toil(model: Any, rounds: int) -> None:
        """Products of matrices that fit into memory, again and again."""
        _constant(model, "sides", [2048, 2048])
        model.graph.node.extend(
            [
                helper.make_node("ReduceMax", ["features"], ["peak"], keepdims=0),
                helper.make_node("Expand", ["peak", "sides"], ["matrix0"]),
            ]
        )
        for number in range(rounds):
            factors = [f"matrix{number}"] * 2
            node = helper.make_node("MatMul", factors, [f"matrix{number + 1}"])
            model.graph.node.append(node)
        _add_to_mask(model, f"matrix{rounds}")

    for rounds in (100, 5_000):
        yield "endless work", f"{rounds} products of matrices", partial(toil, rounds=rounds)


def _constant(model: Any, name: str, values: list[int]) -> None:
    constant = numpy_helper.from_array(np.array(values, np.int64), name)
    model.graph.initializer.append(constant)


def _add_to_mask(model: Any, name: str) -> None:
    """The mask depends on a tensor, so that nobody may leave it out."""
    last = next(node for node in model.graph.node if "mask" in node.output)
    last.output[0] = "mask before"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMin", [name], ["least"], keepdims=0),
            helper.make_node("Add", ["mask before", "least"], ["mask"]),
        ]
    )


def _nested(depth: int) -> bytes:
    """A second graph in the file whose nodes' attributes hold graphs, ``depth`` of them."""
    content = b""
    for _ in range(depth):
        for tag in (0x32, 0x2A, 0x0A):  # attribute 6 (graph), node 5 (attribute), graph 1 (node)
            content = bytes([tag]) + _varint(len(content)) + content
    return b"\x3a" + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
