"""The export of a network before it is trained: the same file but for its numbers.

Sizes, operators and TFLM's arena follow from shapes alone, so random weights and made-up ranges
give the figures that the trained network will have.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from distill.unet import UNet
from export.calibration import Calibration
from export.describe import describe
from export.emission import emit
from export.formats import WIDTHS, Emitted, Format, suffix
from export.material import Material
from export.precision import wide_everywhere
from export.preparation import Prepared
from export.quantization import quantize_graph
from export.step_graph import StepGraph
from export.students import Student, own_student
from export.trained import Trained
from runtime.artefact import Artefact, Sidecar, sidecar_path, write_atomically
from runtime.figures import Figure
from runtime.profiling.arena import arena_figures
from runtime.profiling.records import Unavailable
from runtime.stft import StftContract

_NOTHING = Material([], [], "made-up ranges", synthetic=True, fingerprint="0" * 64, licences={})


@dataclass(frozen=True)
class Rehearsal:
    """One format of one network: its graph, the sidecar that its file would have, its arena.

    ``arena`` holds the measured arena first and the one to reserve second, or nothing, and then
    ``lacking`` says why.
    """

    graph: StepGraph
    sidecar: Sidecar
    arena: tuple[Figure, ...]
    lacking: tuple[Unavailable, ...]


def rehearse(
    network: UNet, contract: StftContract, name: str, format: Format, *, arena: bool = True
) -> Rehearsal:
    """Emit ``network`` in ``format`` without data; nothing is kept on disk.

    Raises InputError where the network cannot be exported.
    """
    trained = Trained("student", name, contract, own_student(network.eval()))
    graph = trained.student.graph
    emitted, prepared = _emit(trained.student, format, contract)
    with tempfile.TemporaryDirectory(prefix="sordino-") as folder:
        sidecar = describe(trained, emitted, _NOTHING, prepared)
        if not arena:
            return Rehearsal(graph, sidecar, (), ())
        model = Path(folder) / f"model{suffix(format)}"
        renamed = sidecar.model_copy(
            update={"model": sidecar.model.model_copy(update={"file": model.name})}
        )
        write_atomically(model, emitted.content)
        write_atomically(sidecar_path(model), renamed.model_dump_json(by_alias=True).encode())
        measured, lacking = arena_figures(Artefact(path=model, sidecar=renamed))
    return Rehearsal(graph, sidecar, tuple(measured), tuple(lacking))


def _emit(
    student: Student, format: Format, contract: StftContract
) -> tuple[Emitted, Prepared | None]:
    graph, width = student.graph, WIDTHS.get(format)
    if width is None:
        return emit(format, student, {}, contract), None
    names = [tensor.name for tensor in graph.inputs]
    names += [operator.output.name for operator in graph.operators]
    calibration = Calibration(dict.fromkeys(names, (-1.0, 1.0)), 0, "0" * 64)
    wide = wide_everywhere(graph) if width == "int16x8" else ()
    prepared = Prepared(graph, calibration, {width: quantize_graph(graph, calibration, wide)})
    return emit(format, student, prepared.quantized, contract), prepared
