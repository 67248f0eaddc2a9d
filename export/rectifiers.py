"""PReLU in int16, from operators that TFLM has int16 kernels of."""

from __future__ import annotations

from export.step_graph import Activation, Constant, Elementwise, Operator, Prelu, Tensor


def written_out(operator: Prelu) -> tuple[list[Operator], dict[str, str]]:
    """relu(x) + slopes · (x − relu(x)), and for each tensor added one whose range holds it."""
    source, output = operator.input, operator.output
    above, below, scaled = (
        Tensor(f"{output.name}/{part}", output.shape) for part in ("above", "below", "scaled")
    )
    slopes = Constant(f"{output.name}/slopes", operator.slopes.reshape(1, 1, 1, -1))
    operators: list[Operator] = [
        Activation("relu", above, source),
        Elementwise("sub", below, source, above),
        Elementwise("mul", scaled, below, slopes),
        Elementwise("add", output, above, scaled),
    ]
    return operators, {above.name: source.name, below.name: source.name, scaled.name: output.name}
