"""The engine that compiles generated C: what it runs and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.artefact import StateSpec, TensorSpec
from runtime.engines import EngineMissing
from runtime.engines.native import NativeEngine, find_compiler
from targets.errors import InputError

HEADER = b"""\
#include <stdint.h>
#define SUM_FRAME 4 /* frame */
#define SUM_RESULT 4
#define SUM_STATE_PAST 4
#define SUM_STATE_PAST_OFFSET 0
typedef struct { int16_t past[4]; int32_t calls; } sum_t;
void sum_init(sum_t *m);
void sum_reset(sum_t *m);
void sum_step(sum_t *m, const int8_t frame[SUM_FRAME], int16_t result[SUM_RESULT]);
int16_t *sum_state_past(sum_t *m);
"""
BODY = b"""\
#include "sum.h"
void sum_init(sum_t *m)
{
    sum_reset(m);
    m->calls = 0;
}
void sum_reset(sum_t *m)
{
    for (int i = 0; i < 4; ++i) { m->past[i] = 0; }
}
void sum_step(sum_t *m, const int8_t frame[SUM_FRAME], int16_t result[SUM_RESULT])
{
    for (int i = 0; i < 4; ++i) {
        m->past[i] = (int16_t)(m->past[i] + frame[i]);
        result[i] = (int16_t)(2 * m->past[i]);
    }
}
int16_t *sum_state_past(sum_t *m) { return m->past; }
"""
SOURCES = {"sum.c": BODY, "sum.h": HEADER}
FRAME = TensorSpec(name="frame", shape=(1, 4), dtype="int8")
PAST = TensorSpec(name="past_in", shape=(2, 2), dtype="int16")
RESULT = TensorSpec(name="result", shape=(1, 4), dtype="int16")
NEXT = TensorSpec(name="past_out", shape=(2, 2), dtype="int16")
STATES = [StateSpec(name="past", input="past_in", output="past_out")]

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def engine(sources: dict[str, bytes] = SOURCES) -> NativeEngine:
    return NativeEngine(sources, [FRAME, PAST], [RESULT, NEXT], STATES)


@needs_compiler
def test_states_go_in_and_come_out() -> None:
    frame = np.array([[1, 2, 3, -4]], np.int8)
    past = np.array([[10, 20], [30, 40]], np.int16)
    opened = engine()
    for _ in range(2):  # nothing is kept between calls
        result, following = opened.run([frame, past])
        np.testing.assert_array_equal(result, [[22, 44, 66, 72]])
        np.testing.assert_array_equal(following, [[11, 22], [33, 36]])
    first = opened.run([frame, past])
    opened.run([frame, np.zeros_like(past)])
    np.testing.assert_array_equal(first[1], [[11, 22], [33, 36]])


@needs_compiler
def test_the_order_of_ports_is_free() -> None:
    opened = NativeEngine(SOURCES, [PAST, FRAME], [NEXT, RESULT], STATES)
    assert [port.name for port in opened.inputs] == ["past_in", "frame"]
    past = np.zeros((2, 2), np.int16)
    following, result = opened.run([past, np.ones((1, 4), np.int8)])
    assert following.shape == (2, 2)
    np.testing.assert_array_equal(result, [[2, 2, 2, 2]])


@needs_compiler
def test_two_engines_are_two_models() -> None:
    other = {"sum.c": BODY.replace(b"2 *", b"3 *"), "sum.h": HEADER}
    frame, past = np.ones((1, 4), np.int8), np.zeros((2, 2), np.int16)
    doubled, tripled = engine(), engine(other)
    assert tripled.run([frame, past])[0][0, 0] == 3
    assert doubled.run([frame, past])[0][0, 0] == 2


@needs_compiler
def test_inputs_of_another_shape_are_not_passed_on() -> None:
    with pytest.raises(ValueError, match="shape"):
        engine().run([np.zeros((1, 3), np.int8), np.zeros((2, 2), np.int16)])
    with pytest.raises(ValueError, match="broadcast"):
        engine().run([np.zeros((1, 4), np.int8), np.zeros((3, 3), np.int16)])


@needs_compiler
@pytest.mark.parametrize(
    ("inputs", "outputs", "states"),
    [
        ([FRAME.model_copy(update={"shape": (1, 5)}), PAST], [RESULT, NEXT], STATES),
        ([FRAME.model_copy(update={"dtype": "int16"}), PAST], [RESULT, NEXT], STATES),
        ([FRAME, PAST], [RESULT.model_copy(update={"dtype": "int8"}), NEXT], STATES),
        ([FRAME, PAST.model_copy(update={"shape": (5,)})], [RESULT, NEXT], STATES),
        ([FRAME, PAST.model_copy(update={"dtype": "float32"})], [RESULT, NEXT], STATES),
        ([FRAME, PAST], [RESULT, NEXT], []),
        ([FRAME], [RESULT], []),
        ([FRAME, PAST], [RESULT], STATES),
    ],
    ids=["length", "input", "output", "state length", "state", "no states", "none", "no output"],
)
def test_a_model_with_other_tensors_is_refused(
    inputs: list[TensorSpec], outputs: list[TensorSpec], states: list[StateSpec]
) -> None:
    with pytest.raises(InputError, match="not those of this model"):
        NativeEngine(SOURCES, inputs, outputs, states)


@needs_compiler
@pytest.mark.parametrize(
    "sources",
    [
        {"sum.h": HEADER},
        {"sum.c": BODY},
        {**SOURCES, "other.c": BODY},
        {**SOURCES, "../sum.h": HEADER},
        {"sum.c": BODY + b"int x = ;", "sum.h": HEADER},
        {"sum.c": b"", "sum.h": HEADER},
        {"sum.c": BODY, "sum.h": b"int sum;"},
    ],
    ids=["no body", "no header", "two", "path", "syntax", "empty", "other header"],
)
def test_sources_that_are_no_model_are_refused(sources: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="not those of this model"):
        engine(sources)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineMissing) as missing:
        engine()
    assert "apt install gcc" in missing.value.hint


@needs_compiler
def test_the_reset_is_the_models_own() -> None:
    model = engine()
    model.run([np.ones((1, 4), np.int8), np.full((2, 2), 3, np.int16)])
    (past,) = model.reset()
    assert not past.any()
    lame = BODY.replace(b"m->past[i] = 0", b"m->past[i] = 7")
    (past,) = engine({**SOURCES, "sum.c": lame}).reset()
    assert (past == 7).all()
