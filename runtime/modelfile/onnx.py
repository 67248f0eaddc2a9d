"""An .onnx file from anyone, checked before ONNX Runtime reads it.

The bytes must be a well-formed protocol buffer, weights must be in the file itself and of the size
their shape demands, shapes of inputs and outputs static, and operators plain ones of the standard
set in an order in which they can run. What the shapes between them come to, and so how much memory
and time a step takes, is found out by ``rehearsal``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from runtime.modelfile.onnx_schema import (
    ATTRIBUTE_INT,
    ATTRIBUTES,
    DOMAINS,
    EMPTY_INPUTS,
    EMPTY_OUTPUTS,
    IR_VERSIONS,
    OPERATOR_SETS,
    OPERATORS,
    QUANTIZER_DOMAIN,
    QUANTIZERS,
    SCHEMA,
    TYPES,
)
from runtime.modelfile.protobuf import Record, read_protobuf
from runtime.modelfile.refusal import (
    HINT,
    LARGEST_MODEL,
    LARGEST_SIDE,
    LARGEST_TENSORS,
    MOST_RANK,
    Damaged,
    ModelRefused,
    demand,
    shown,
)

MOST_NODES: Final = 1 << 14
MOST_OPERANDS: Final = 512
MOST_ATTRIBUTES: Final = 64
LONGEST_STRIDE: Final = 1 << 12

# Attributes that are sizes: at least the first number, at most the second.
SIZES: Final = {
    "strides": (1, LONGEST_STRIDE),
    "dilations": (1, LONGEST_STRIDE),
    "kernel_shape": (1, LONGEST_STRIDE),
    "group": (1, LARGEST_SIDE),
    "pads": (0, LONGEST_STRIDE),
    "output_padding": (0, LONGEST_STRIDE),
    "output_shape": (1, LARGEST_SIDE),
    "hidden_size": (1, LONGEST_STRIDE),
    "blocksize": (1, 256),
}


class OnnxPort(NamedTuple):
    """An input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class OnnxModel:
    """A model that passed: its interface, and its operators in order."""

    inputs: tuple[OnnxPort, ...]
    outputs: tuple[OnnxPort, ...]
    operators: tuple[str, ...]


def check_onnx(content: bytes, name: str = "The model") -> OnnxModel:
    """What an .onnx file holds. ``name`` begins the sentence when it is refused.

    Raises ModelRefused.
    """
    try:
        return _checked(content)
    except Damaged as error:
        raise ModelRefused(f"{name} is no sound .onnx file: {error}.", hint=HINT) from None


def _checked(content: bytes) -> OnnxModel:
    demand(len(content) > 0, "it is empty")
    demand(
        len(content) <= LARGEST_MODEL,
        f"it has {len(content) >> 20} MiB, and at most {LARGEST_MODEL >> 20} are read",
    )
    model = read_protobuf(content, SCHEMA, "Model")
    graph = model["graph"]
    if graph is None:
        raise Damaged("it holds no graph")
    _check_header(model)
    demand(not graph["sparse_initializer"], "it has sparse weights")
    inputs = tuple(_port(record, "input") for record in graph["input"])
    outputs = tuple(_port(record, "output") for record in graph["output"])
    demand(0 < len(inputs) <= MOST_OPERANDS, f"it has {len(inputs)} inputs")
    demand(0 < len(outputs) <= MOST_OPERANDS, f"it has {len(outputs)} outputs")
    known: set[str] = set()
    for port in inputs:
        demand(port.name not in known, f"two inputs are called {shown(port.name)}")
        known.add(port.name)
    total = sum(8 * math.prod(port.shape) for port in (*inputs, *outputs))
    for record in graph["initializer"]:
        name = record["name"]
        demand(bool(name) and name not in known, f"a second tensor is called {shown(name)}")
        total += _check_tensor(f"the weight {shown(name)}", record)
        known.add(name)
    demand(total <= LARGEST_TENSORS, f"its tensors need {total >> 20} MiB of memory")
    constants = frozenset(known)
    demand(0 < len(graph["node"]) <= MOST_NODES, f"it has {len(graph['node'])} nodes")
    for index, node in enumerate(graph["node"]):
        _check_node(index, node, known)
    for port in outputs:
        demand(port.name in known - constants, f"nothing computes its output {shown(port.name)}")
    demand(len({port.name for port in outputs}) == len(outputs), "two outputs have one name")
    return OnnxModel(inputs, outputs, tuple(node["op_type"] for node in graph["node"]))


def _check_header(model: Record) -> None:
    version = model["ir_version"]
    demand(version in IR_VERSIONS, f"its IR version is {version}")
    demand(not model["functions"], "it has functions of its own")
    demand(not model["training_info"], "it has instructions for training")
    standard = [s["version"] for s in model["opset_import"] if s["domain"] in DOMAINS]
    demand(len(standard) == 1, f"it names {len(standard)} versions of the standard operators")
    demand(standard[0] in OPERATOR_SETS, f"it is made for version {standard[0]} of the operators")


def _port(record: Record, kind: str) -> OnnxPort:
    """An input or output of static shape."""
    name = record["name"]
    what = f"the {kind} {shown(name)}"
    demand(bool(name), f"an {kind} has no name")
    tensor = (record["type"] or {}).get("tensor_type")
    if tensor is None:
        raise Damaged(f"{what} is no tensor")
    demand(tensor["elem_type"] in TYPES, f"{what} is of type {tensor['elem_type']}")
    demand(tensor["shape"] is not None, f"{what} has no shape")
    sides = tensor["shape"]["dim"]
    demand(len(sides) <= MOST_RANK, f"{what} has {len(sides)} dimensions")
    for side in sides:
        demand(not side["dim_param"], f"{what} has a side {shown(side['dim_param'])}, not a number")
        demand(0 < side["dim_value"] <= LARGEST_SIDE, f"{what} has a side of {side['dim_value']}")
    dtype, _, _ = TYPES[tensor["elem_type"]]
    return OnnxPort(name, tuple(side["dim_value"] for side in sides), dtype)


def _check_tensor(what: str, record: Record) -> int:
    """A constant in the file; its bytes."""
    outside = record["external_data"] or record["data_location"]
    demand(not outside, f"{what} lies outside the file")
    demand(record["segment"] is None, f"{what} is one segment of a larger tensor")
    demand(record["data_type"] in TYPES, f"{what} is of type {record['data_type']}")
    _, item, values = TYPES[record["data_type"]]
    sides = record["dims"]
    demand(len(sides) <= MOST_RANK + 1, f"{what} has {len(sides)} dimensions")
    demand(all(0 <= side <= LARGEST_SIDE for side in sides), f"{what} has the shape {list(sides)}")
    count = math.prod(sides)
    raw = record["raw_data"]
    listed = len(record[values]) * item
    stored = raw.size if raw is not None else listed
    demand(
        stored == count * item and (raw is None or not listed),
        f"{what} needs {count * item} bytes and has {stored}",
    )
    for other in ("float_data", "int32_data", "int64_data", "uint64_data"):
        demand(other == values or not record[other], f"{what} has values of another type")
    demand(not record["string_data"] and not record["double_data"], f"{what} has other values")
    return count * item


def _check_node(index: int, node: Record, known: set[str]) -> None:
    """An operator that may run, whose inputs are there; its outputs become known."""
    kind, domain = node["op_type"], node["domain"]
    what = f"node {index} ({shown(kind)})"
    plain = domain in DOMAINS or (domain == QUANTIZER_DOMAIN and kind in QUANTIZERS)
    demand(plain, f"{what} is of the domain {shown(domain)}, which sordino does not run")
    demand(kind in OPERATORS and not node["overload"], f"{what} is none that sordino runs")
    sizes = len(node["input"]), len(node["output"])
    demand(max(sizes) <= MOST_OPERANDS and sizes[1] > 0, f"{what} has {max(sizes)} operands")
    for end, may_lack in (("input", EMPTY_INPUTS), ("output", EMPTY_OUTPUTS)):
        empty = {place for place, name in enumerate(node[end]) if not name}
        demand(empty <= set(may_lack.get(kind, ())), f"{what} lacks an {end}")
    for name in node["input"]:
        demand(
            not name or name in known, f"{what} reads {shown(name)} before anything has computed it"
        )
    demand(len(node["attribute"]) <= MOST_ATTRIBUTES, f"{what} has too many attributes")
    for attribute in node["attribute"]:
        _check_attribute(what, kind, attribute)
    stated = [a["i"] for a in node["attribute"] if a["name"] == "num_outputs"]
    demand(  # ONNX Runtime 1.31 aborts on another number
        all(count == sizes[1] for count in stated), f"{what} does not have the outputs it states"
    )
    for name in node["output"]:
        demand(not name or name not in known, f"{what} computes {shown(name)} a second time")
        if name:
            known.add(name)


def _check_attribute(what: str, kind: str, attribute: Record) -> None:
    name = attribute["name"]
    nested = any(attribute[part] is not None for part in ("g", "tp", "sparse_tensor"))
    nested = nested or any(attribute[part] for part in ("graphs", "type_protos", "tensors"))
    nested = nested or bool(attribute["sparse_tensors"] or attribute["ref_attr_name"])
    demand(
        not nested and attribute["type"] in ATTRIBUTES, f"{what} has {shown(name)} of a wrong kind"
    )
    if attribute["t"] is not None:
        demand(kind == "Constant", f"{what} has a tensor for {shown(name)}")
        _check_tensor(f"the value of {what}", attribute["t"])
    numbers = attribute["ints"]
    if attribute["type"] == ATTRIBUTE_INT:
        numbers = (*numbers, attribute["i"])
    low, high = SIZES.get(name, (-LARGEST_SIDE, LARGEST_SIDE))
    if kind != "Constant":  # those may say "to the end" by the largest number there is
        demand(all(low <= n <= high for n in numbers), f"{what} has {shown(name)} out of range")
    demand(
        all(map(math.isfinite, (attribute["f"], *attribute["floats"]))),
        f"{what} has {shown(name)}, which is not finite",
    )
