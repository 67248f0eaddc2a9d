"""Generated C: compiles without a word, computes what TFLM computes, keeps nothing of its own."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.unet import UNetConfig, preset
from export.c.generator import GeneratedC, generate
from runtime.engines import engine_from_bytes
from targets.errors import InputError
from tests.export.c.conftest import FileOf
from tests.export.c.support import (
    HOST_COMPILERS,
    STRICT,
    Array,
    compile_c,
    native,
    random_frames,
    random_states,
    trajectory,
    write,
    zero_states,
)
from tests.export.edited import rewritten, tensor_named

needs_compiler = pytest.mark.skipif(not HOST_COMPILERS, reason="no C compiler")
needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)

DRIVER = """
#include <stdio.h>
#include "model.h"

int main(void)
{
    model_t net;
    VALUE features[MODEL_FEATURES], mask[MODEL_MASK];
    model_init(&net);
    while (fread(features, 1, sizeof features, stdin) == sizeof features) {
        model_step(&net, features, mask);
        fwrite(mask, 1, sizeof mask, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def tiny(tiny_int8: bytes) -> GeneratedC:
    return generate(tiny_int8)


def assert_exact(model: bytes, generated: GeneratedC, frames: list[Array]) -> None:
    """The C and TFLM agree on every bit from two starts: after init, and from random states."""
    reference, ours = engine_from_bytes("tflm", model), native(generated)
    half = len(frames) // 2
    for part, states in (
        (frames[:half], zero_states(generated)),
        (frames[half:], random_states(generated)),
    ):
        expected = trajectory(reference, part, states)
        for number, (wanted, given) in enumerate(
            zip(expected, trajectory(ours, part, states), strict=True)
        ):
            for left, right in zip(wanted, given, strict=True):
                np.testing.assert_array_equal(left, right, err_msg=f"frame {number}")


@needs_tflm
@needs_compiler
def test_tiny_is_exact_over_a_thousand_frames(tiny_int8: bytes, tiny: GeneratedC) -> None:
    assert_exact(tiny_int8, tiny, random_frames(tiny, 1000))


@needs_tflm
@needs_compiler
def test_every_kind_of_network_is_exact(kind_int8: bytes) -> None:
    generated = generate(kind_int8)
    assert_exact(kind_int8, generated, random_frames(generated, 200))


@needs_tflm
@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int16", "mixed"])
@pytest.mark.parametrize("bottleneck", ["gru", "tcn"])
def test_small_is_exact_over_a_thousand_frames(
    file_of: FileOf, dtype: str, bottleneck: str
) -> None:
    config = preset("small").model_copy(update={"bottleneck": bottleneck})
    model = file_of(config, dtype)
    generated = generate(model)
    assert_exact(model, generated, random_frames(generated, 1000))


@needs_tflm
@needs_compiler
@pytest.mark.slow
def test_int16_networks_of_every_kind_are_exact(file_of: FileOf, kind_config: UNetConfig) -> None:
    model = file_of(kind_config, "int16")
    generated = generate(model)
    assert_exact(model, generated, random_frames(generated, 200))


@needs_compiler
@pytest.mark.slow
def test_float_networks_compute_what_litert_computes(
    file_of: FileOf, kind_config: UNetConfig
) -> None:
    model = file_of(kind_config, "float32")
    generated = generate(model)
    frames, states = random_frames(generated, 50), zero_states(generated)
    expected = trajectory(engine_from_bytes("litert-reference", model), frames, states)
    for wanted, given in zip(expected, trajectory(native(generated), frames, states), strict=True):
        for left, right in zip(wanted, given, strict=True):
            np.testing.assert_allclose(left, right, atol=2e-5)


@needs_compiler
@pytest.mark.parametrize("compiler", HOST_COMPILERS)
@pytest.mark.parametrize(
    "dtype",
    ["int8", *(pytest.param(name, marks=pytest.mark.slow) for name in ("int16", "float32"))],
)
def test_it_compiles_without_a_warning(
    file_of: FileOf, compiler: str, dtype: str, tmp_path: Path
) -> None:
    write(generate(file_of(preset("tiny"), dtype)).files, tmp_path)
    compile_c(compiler, tmp_path, *STRICT, "-O1", "-c", "model.c", "-o", "model.o")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("compiler", HOST_COMPILERS)
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("bottleneck", ["gru", "tcn"])
def test_it_is_clean_under_sanitizers(
    file_of: FileOf, bottleneck: str, dtype: str, compiler: str, tmp_path: Path
) -> None:
    config = preset("tiny").model_copy(update={"bottleneck": bottleneck})
    kind = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}[dtype]
    generated = generate(file_of(config, dtype))
    write(dict(generated.files) | {"driver.c": DRIVER.replace("VALUE", kind).encode()}, tmp_path)
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    files = ["driver.c", "model.c", "-o", "driver"]
    compile_c(compiler, tmp_path, *flags, "-ffp-contract=off", *files)
    frames = random_frames(generated, 40)
    fed = b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run(
        [tmp_path / "driver"], input=fed, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    expected = trajectory(native(generated), frames, zero_states(generated))
    assert done.stdout == b"".join(outputs[0].tobytes() for outputs in expected)


@needs_compiler
def test_two_instances_do_not_disturb_each_other(tiny: GeneratedC, tmp_path: Path) -> None:
    source = """
#include <stdio.h>
#include "model.h"

int main(void)
{
    static model_t one, two, alone;
    static int8_t features[2][MODEL_FEATURES], mask[MODEL_MASK], expected[MODEL_MASK];
    model_init(&one);
    model_init(&two);
    for (int frame = 0; frame < 20; ++frame) {
        for (int i = 0; i < MODEL_FEATURES; ++i) {
            features[0][i] = (int8_t)((i * 7 + frame * 31) % 255 - 127);
            features[1][i] = (int8_t)((i * 13 + frame * 5) % 255 - 127);
        }
        model_step(&one, features[0], mask);
        model_step(&two, features[1], expected);
        alone = one; /* a copy is as good as the original */
        one = alone;
        fwrite(mask, 1, sizeof mask, stdout);
    }
    model_reset(&two);
    model_init(&alone);
    model_step(&two, features[0], mask);
    model_step(&alone, features[0], expected);
    for (int i = 0; i < MODEL_MASK; ++i) {
        if (mask[i] != expected[i]) {
            return 1; /* reset is not a fresh start */
        }
    }
    return 0;
}
"""
    write(dict(tiny.files) | {"main.c": source.encode()}, tmp_path)
    compile_c(HOST_COMPILERS[0], tmp_path, "-O1", "main.c", "model.c", "-o", "main")
    done = subprocess.run([tmp_path / "main"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    (port,) = tiny.inputs
    places = np.arange(port.shape[2] * port.shape[3])
    frames = [
        ((places * 7 + frame * 31) % 255 - 127).astype(np.int8).reshape(port.shape)
        for frame in range(20)
    ]
    expected = trajectory(native(tiny), frames, zero_states(tiny))
    assert done.stdout == b"".join(outputs[0].tobytes() for outputs in expected)


@needs_compiler
def test_the_profiling_hook_is_called_around_every_numbered_operator(
    tiny: GeneratedC, tmp_path: Path
) -> None:
    source = """
#include <stdio.h>
#include "model.h"

void model_profile(int step, int after) { printf("%d %d\\n", step, after); }

int main(void)
{
    static model_t net;
    static int8_t features[MODEL_FEATURES], mask[MODEL_MASK];
    model_init(&net);
    model_step(&net, features, mask);
    return 0;
}
"""
    write(dict(tiny.files) | {"main.c": source.encode()}, tmp_path)
    flags = [*STRICT, "-DMODEL_PROFILE", "main.c", "model.c", "-o", "main"]
    compile_c(HOST_COMPILERS[0], tmp_path, *flags)
    done = subprocess.run([tmp_path / "main"], capture_output=True, timeout=60, check=True)
    calls = [line.split() for line in done.stdout.decode().splitlines()]
    steps = [str(operator.step) for operator in tiny.operators]
    assert calls == [[step, after] for step in steps for after in "01"]
    assert sum(operator.macs for operator in tiny.operators) == tiny.macs


@needs_compiler
def test_a_changed_weight_is_found(tiny_int8: bytes, tiny: GeneratedC) -> None:
    """The comparison compares: one weight of the last convolution becomes another."""
    text = tiny.files["model.c"].decode()
    table = list(
        re.finditer(r"const int8_t \w+_weights\[\d+\] SORDINO_ALIGNED = \{\s+(-?\d+),", text)
    )[-1]
    start, stop = table.span(1)
    changed = str(int(table[1]) + 40 if int(table[1]) < 80 else int(table[1]) - 40)
    files = dict(tiny.files) | {"model.c": (text[:start] + changed + text[stop:]).encode()}
    frames = random_frames(tiny, 5)
    one = trajectory(native(tiny), frames, zero_states(tiny))
    other = trajectory(native(tiny, files), frames, zero_states(tiny))
    assert any(
        not np.array_equal(left, right)
        for wanted, given in zip(one, other, strict=True)
        for left, right in zip(wanted, given, strict=True)
    )


def test_the_same_model_gives_the_same_bytes(tiny_int8: bytes, tiny: GeneratedC) -> None:
    assert generate(tiny_int8).files == tiny.files


def test_names_follow_the_prefix(tiny_int8: bytes) -> None:
    generated = generate(tiny_int8, "left_ear")
    assert set(generated.files) == {"left_ear.c", "left_ear.h", "sordino_kernels.h"}
    header = generated.files["left_ear.h"].decode()
    assert "void left_ear_step(left_ear_t *m, const int8_t features[LEFT_EAR_FEATURES]," in header


@pytest.mark.parametrize("name", ["", "Model", "2nd", "a-b", "x" * 40, "é"])
def test_other_names_are_refused(tiny_int8: bytes, name: str) -> None:
    with pytest.raises(InputError, match="name of a C model"):
        generate(tiny_int8, name)


def test_the_plan_is_as_small_as_its_order_of_operators_allows(kind_int8: bytes) -> None:
    generated = generate(kind_int8)
    assert generated.ram_bytes <= 1.06 * generated.least_ram_bytes
    assert generated.ram_bytes >= generated.state_bytes


def test_nothing_but_plain_text_is_written(tiny: GeneratedC) -> None:
    for content in tiny.files.values():
        assert content.isascii()
        assert max(map(len, content.splitlines())) <= 200


def test_names_in_the_file_cannot_leave_a_comment(tiny_int8: bytes, tmp_path: Path) -> None:
    def hostile(model: Any) -> None:
        tensor_named(model, "mask").name = b"*/ #error ??/\n\\ \xc3\xa9"
        tensor_named(model, "gru/update").name = b"/* int main"

    generated = generate(rewritten(tiny_int8, hostile))
    write(generated.files, tmp_path)
    for compiler in HOST_COMPILERS:
        compile_c(compiler, tmp_path, *STRICT, "-fsyntax-only", "model.c")


def test_states_are_where_the_header_says(tiny: GeneratedC) -> None:
    header = tiny.files["model.h"].decode()
    for port in tiny.states:
        label = f"MODEL_STATE_{port.label.upper()}"
        assert f"#define {label} {np.prod(port.shape)} " in header
        assert f"#define {label}_OFFSET {port.offset}\n" in header


class TestRefusals:
    """A model that is not taken: operator, tensor and reason in one sentence."""

    def test_bytes_that_are_no_model(self) -> None:
        with pytest.raises(InputError):
            generate(b"\x20\0\0\0TFL3" + bytes(40))

    def test_an_operator_without_a_kernel(self, tiny_int8: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        def other(model: Any) -> None:
            code = next(c for c in model.operatorCodes if c.builtinCode == 28)
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ELU

        with pytest.raises(InputError, match=r"ELU \(operator \d+, writes '[^']+'\)"):
            generate(rewritten(tiny_int8, other))

    def test_moving_between_scales(self, tiny_int8: bytes) -> None:
        def other(model: Any) -> None:
            tensor_named(model, "decoder0").quantization.scale = [0.25]

        with pytest.raises(InputError, match=r"RESHAPE .*'decoder0'.*different scales"):
            generate(rewritten(tiny_int8, other))
