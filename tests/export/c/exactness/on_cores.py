"""Many cases as one firmware: what simulated cores compute with the kernels they really have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from export.c.call import Call, Copies, Lowered, table
from export.c.constants import Constants
from export.c.kernel_files import kernel_header
from export.c.model import CModel, COperator
from export.c.operators.table import lower
from export.c.printing import c_type
from export.c.program import IO_TYPES
from runtime.devices.bare_metal import simulate
from runtime.devices.simulation import GoldenVectors
from tests.export.c.exactness.files import Array, Case, model_of
from tests.export.c.exactness.oracles import tflm

KERNELS = "sordino_kernels.h"
BATCH = 100  # cases in one file for TFLM
_HEADER = """\
#include <stdint.h>
typedef struct {{ int8_t scratch[{scratch}] __attribute__((aligned(16))); }} cases_t;
void cases_init(cases_t *m);
void cases_step(cases_t *m, const int8_t *features, int8_t *mask);
"""
_SOURCE = """\
#include "cases.h"
#include "sordino_kernels.h"
{constants}
void cases_init(cases_t *m) {{ (void)m; }}
void cases_step(cases_t *m, const int8_t *features, int8_t *mask)
{{
    (void)m;
{statements}
}}
"""


@dataclass
class _Bytes:
    """Arrays one behind the other, each at an address that is aligned to its elements only."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, array: Array) -> int:
        offset = -(-self.size // 16) * 16 + array.itemsize % 16
        self.parts.append(bytes(offset - self.size) + array.tobytes())
        self.size = offset + array.nbytes
        return offset

    def array(self) -> npt.NDArray[np.int8]:
        return np.frombuffer(b"".join(self.parts), np.int8)


@dataclass
class _Firmware:
    """The sources of a model whose step runs every case, and what it reads and writes."""

    constants: Constants = field(default_factory=lambda: Constants("cases"))
    statements: list[str] = field(default_factory=list)
    headers: set[str] = field(default_factory=set)
    features: _Bytes = field(default_factory=_Bytes)
    masks: _Bytes = field(default_factory=_Bytes)
    scratch: int = 16

    def add(self, model: CModel, operator: COperator, case: Case, wanted: Sequence[Array]) -> None:
        places: dict[int, str] = {}
        feeds = iter(case.feeds)
        for index in operator.inputs:
            if index < 0:
                continue
            tensor = model.tensors[index]
            if tensor.data is None:
                places[index] = self._place("const ", "features", self.features, next(feeds))
            elif tensor.data.dtype.name in IO_TYPES:
                constant = table(tensor.data, c_type(tensor.dtype))
                places[index] = self.constants.table(
                    f"constant_{len(self.statements)}_{index}", constant
                )
        for index, output in zip(operator.outputs, wanted, strict=True):
            places[index] = self._place("", "mask", self.masks, output)
        self._lowered(lower(model, operator), places)

    def _place(self, const: str, name: str, memory: _Bytes, array: Array) -> str:
        kind = c_type(array.dtype.name)
        return f"({const}{kind} *)({const}void *)({name} + {memory.add(array)})"

    def _lowered(self, lowered: Lowered, places: dict[int, str]) -> None:
        for work in lowered if isinstance(lowered, tuple) else (lowered,):
            if isinstance(work, Copies):
                self.statements += [
                    f"    memcpy((int8_t *){places[copy.destination]} + {copy.destination_offset}, "
                    f"(const int8_t *){places[copy.source]} + {copy.source_offset}, {copy.size});"
                    for copy in work.copies
                ]
            else:
                self._call(work, places)

    def _call(self, call: Call, places: dict[int, str]) -> None:
        self.headers.add(call.header)
        self.scratch = max(self.scratch, call.scratch)
        params = self.constants.params(f"case_{len(self.statements)}", call)
        arguments = [f"&{params}", *(places[index] for index in (*call.inputs, *call.outputs))]
        arguments += ["m->scratch"] if call.scratch else []
        self.statements.append(f"    {call.kernel}({', '.join(arguments)});")

    def files(self) -> dict[str, bytes]:
        texts = {
            "cases.h": _HEADER.format(scratch=self.scratch),
            "cases.c": _SOURCE.format(
                constants="\n".join(self.constants.text), statements="\n".join(self.statements)
            ),
            KERNELS: kernel_header(self.headers),
        }
        return {name: text.encode() for name, text in texts.items()}


def assert_exact_on(
    core: str, cases: Sequence[Case], planted: tuple[bytes, bytes] | None = None
) -> None:
    """Raise AssertionError where a simulated core computes another value than TFLM.

    Values between the outputs are compared as well: nothing may be written there. ``planted`` is a
    text of the kernels and a mistake to put in its place.
    """
    firmware = _Firmware()
    for first in range(0, len(cases), BATCH):
        some = cases[first : first + BATCH]
        model = model_of(some)
        for operator, case, wanted in zip(model.operators, some, tflm(some), strict=True):
            firmware.add(model, operator, case, wanted)
    golden = GoldenVectors(firmware.features.array()[None], firmware.masks.array()[None])
    files = firmware.files()
    if planted is not None:
        assert files[KERNELS].count(planted[0]) == 1
        files[KERNELS] = files[KERNELS].replace(*planted)
    report = simulate(files, golden, core, optimisation="-O2", runs=1)
    assert report.exact, f"{core}: {report.difference}"
