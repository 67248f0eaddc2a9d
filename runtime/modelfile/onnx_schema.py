"""Field numbers of ONNX (onnx/onnx.proto3, IR version 13) and what models here may use."""

from __future__ import annotations

from typing import Final

from runtime.modelfile.protobuf import Field

SCHEMA: Final[dict[str, dict[int, Field]]] = {
    "Model": {
        1: Field("ir_version", "int"),
        7: Field("graph", "Graph"),
        8: Field("opset_import", "OperatorSet", True),
        20: Field("training_info", "bytes", True),
        25: Field("functions", "bytes", True),
    },
    "OperatorSet": {1: Field("domain", "string"), 2: Field("version", "int")},
    "Graph": {
        1: Field("node", "Node", True),
        5: Field("initializer", "Tensor", True),
        11: Field("input", "ValueInfo", True),
        12: Field("output", "ValueInfo", True),
        13: Field("value_info", "ValueInfo", True),
        15: Field("sparse_initializer", "bytes", True),
    },
    "Node": {
        1: Field("input", "string", True),
        2: Field("output", "string", True),
        3: Field("name", "string"),
        4: Field("op_type", "string"),
        5: Field("attribute", "Attribute", True),
        7: Field("domain", "string"),
        8: Field("overload", "string"),
    },
    "Attribute": {
        1: Field("name", "string"),
        2: Field("f", "f32"),
        3: Field("i", "int"),
        4: Field("s", "bytes"),
        5: Field("t", "Tensor"),
        6: Field("g", "bytes"),
        7: Field("floats", "f32", True),
        8: Field("ints", "int", True),
        10: Field("tensors", "bytes", True),
        11: Field("graphs", "bytes", True),
        14: Field("tp", "bytes"),
        15: Field("type_protos", "bytes", True),
        20: Field("type", "int"),
        21: Field("ref_attr_name", "string"),
        22: Field("sparse_tensor", "bytes"),
        23: Field("sparse_tensors", "bytes", True),
    },
    "Tensor": {
        1: Field("dims", "int", True),
        2: Field("data_type", "int"),
        3: Field("segment", "bytes"),
        4: Field("float_data", "f32", True),
        5: Field("int32_data", "int", True),
        6: Field("string_data", "bytes", True),
        7: Field("int64_data", "int", True),
        8: Field("name", "string"),
        9: Field("raw_data", "bytes"),
        10: Field("double_data", "bytes", True),
        11: Field("uint64_data", "int", True),
        13: Field("external_data", "bytes", True),
        14: Field("data_location", "int"),
    },
    "ValueInfo": {1: Field("name", "string"), 2: Field("type", "Type")},
    "Type": {
        1: Field("tensor_type", "TensorType"),
        4: Field("sequence_type", "bytes"),
        5: Field("map_type", "bytes"),
        7: Field("opaque_type", "bytes"),
        8: Field("sparse_tensor_type", "bytes"),
        9: Field("optional_type", "bytes"),
    },
    "TensorType": {1: Field("elem_type", "int"), 2: Field("shape", "Shape")},
    "Shape": {1: Field("dim", "Dimension", True)},
    "Dimension": {1: Field("dim_value", "int"), 2: Field("dim_param", "string")},
}

# Tensor types by number: name, bytes of an element, and the field of values that are not raw.
TYPES: Final[dict[int, tuple[str, int, str]]] = {
    1: ("float32", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    4: ("uint16", 2, "int32_data"),
    5: ("int16", 2, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float16", 2, "int32_data"),
}

DOMAINS: Final = ("", "ai.onnx")
QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear")
QUANTIZER_DOMAIN: Final = "com.microsoft"  # theirs take 16 bits in older operator sets
OPERATOR_SETS: Final = range(13, 26)
IR_VERSIONS: Final = range(4, 14)

ATTRIBUTE_INT: Final = 2
ATTRIBUTES: Final = (1, ATTRIBUTE_INT, 3, 4, 6, 7, 8)  # numbers, strings and tensors

# What may be computed: no control flow, nothing random, no sequences, and no shapes that depend on
# values.
_OPERATORS: Final = """
    Conv ConvTranspose Gemm MatMul Einsum GRU LSTM
    ConvInteger MatMulInteger QLinearConv QLinearMatMul DynamicQuantizeLinear
    QuantizeLinear DequantizeLinear
    AveragePool MaxPool GlobalAveragePool GlobalMaxPool
    BatchNormalization InstanceNormalization LayerNormalization GroupNormalization
    RMSNormalization LpNormalization
    Relu LeakyRelu PRelu Elu Selu Celu Sigmoid Tanh HardSigmoid HardSwish Gelu Mish Swish
    Softplus Softsign Softmax LogSoftmax Clip ThresholdedRelu
    Abs Neg Exp Log Sqrt Reciprocal Erf Floor Ceil Round Sign Sin Cos Atan
    Add Sub Mul Div Pow Max Min Mean Sum Mod
    Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Where
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare CumSum
    Identity Constant Cast Concat Split Slice Gather GatherElements Reshape Flatten Transpose
    Squeeze Unsqueeze Expand Tile Pad DepthToSpace SpaceToDepth Resize Trilu
"""
OPERATORS: Final = frozenset(_OPERATORS.split())

# Places of inputs and outputs that may be left empty before one that is there. ONNX Runtime 1.31
# follows null pointers where other operators lack an input.
EMPTY_INPUTS: Final[dict[str, tuple[int, ...]]] = {
    "Clip": (1,),
    "GRU": (3, 4),
    "LSTM": (3, 4, 5, 6),
    "Pad": (2,),
    "Resize": (1, 2),
    "Slice": (3,),
}
EMPTY_OUTPUTS: Final[dict[str, tuple[int, ...]]] = {"GRU": (0,), "LSTM": (0, 1)}
