"""The corpus: hostile and damaged models in families, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain

from tests.hostile.bases import Base, bases
from tests.hostile.bytes_damage import (
    Survey,
    even_cuts,
    flipped,
    offsets_rewritten,
    one_table_for_all,
    spliced,
    truncated,
    vectors_lengthened,
    vtables_broken,
)
from tests.hostile.onnx_lies import onnx_lies
from tests.hostile.sidecar_lies import sidecar_lies
from tests.hostile.specimen import Specimen
from tests.hostile.strangers import strangers
from tests.hostile.tflite_lies import tflite_lies
from tests.hostile.tflite_operators import tflite_operators


@cache
def corpus() -> tuple[Specimen, ...]:
    """Every specimen; no two hold the same bytes."""
    known = bases()
    found = chain(
        tflite_lies(known["int8"]),
        *(_flatbuffer_damage(known[name]) for name in ("float", "int8")),
        tflite_operators(known["float"]),
        onnx_lies(known["onnx"]),
        _protobuf_damage(known["onnx"]),
        *(sidecar_lies(known[name]) for name in ("int8", "onnx")),
        strangers(known["int8"], known["onnx"]),
        strangers(known["onnx"], known["int8"]),
    )
    return tuple({(one.model, one.sidecar, one.hollow): one for one in found}.values())


def one_of_each_family() -> list[Specimen]:
    """The first specimen of every family and format, without making the others."""
    known = bases()
    found = chain(
        tflite_lies(known["int8"], brief=True),
        _flatbuffer_damage(known["int8"]),
        tflite_operators(known["float"]),
        onnx_lies(known["onnx"]),
        _protobuf_damage(known["onnx"]),
        sidecar_lies(known["int8"]),
        strangers(known["int8"], known["onnx"]),
    )
    first: dict[tuple[str, str], Specimen] = {}
    for one in found:
        first.setdefault((one.family, one.suffix), one)
    return list(first.values())


def _flatbuffer_damage(base: Base) -> Iterator[Specimen]:
    survey = Survey(base.content)
    boundaries = [*survey.tables[::4], *survey.vectors[::6], *even_cuts(base, 10)]
    yield from truncated(base, boundaries)
    yield from flipped(base, 50, list(range(len(base.content))))
    yield from spliced(base, 30)
    yield from offsets_rewritten(base, 48)
    yield from one_table_for_all(base)
    yield from vectors_lengthened(base, 20)
    yield from vtables_broken(base, 27)


def _protobuf_damage(base: Base) -> Iterator[Specimen]:
    yield from truncated(base, even_cuts(base, 30))
    yield from flipped(base, 60, list(range(len(base.content))))
    yield from spliced(base, 30)
