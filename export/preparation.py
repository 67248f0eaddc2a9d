"""All that happens between a float step graph and its integer files, in one place.

Equalisation, calibration, choice of ranges, bias correction; then, where a quality budget asks for
it, fine-tuning and the search for a mix of widths. Every integer format of an export shares what
comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from export.bias_correction import correct_biases, tensor_means
from export.calibration import Calibration, calibrate, stack_features
from export.equalisation import channel_reach, equalise
from export.executor import Array
from export.fine_tuning import FineTuned, fine_tune
from export.formats import Width
from export.material import Material
from export.mixed_precision import Mix, OutsideBudget, Progress, search
from export.precision import wide_everywhere
from export.quality_budget import DEFAULT_BUDGET, QualityBudget
from export.quantization import QuantizedGraph, quantize_graph
from export.ranges import DEFAULT_PERCENTILE, Method, choose_ranges
from export.step_graph import StepGraph
from export.trial import Reference, Trial, float_reference, try_out
from export.widening_cost import widening_cost
from runtime.stft import StftContract

Notes = dict[str, str | int | float]


@dataclass(frozen=True)
class Quantizing:
    """How to quantize. ``fine_tune`` is a number of steps, 0 for none.

    Fine-tuning and int16 layers are used only where plain int8 loses more than ``budget``. Without
    a budget fine-tuning goes by :data:`DEFAULT_BUDGET`, and no layer becomes int16.
    """

    ranges: Method = "minmax"
    percentile: float = DEFAULT_PERCENTILE
    equalise: bool = False
    correct_biases: bool = False
    fine_tune: int = 0
    budget: QualityBudget | None = None


@dataclass(frozen=True)
class Prepared:
    """What integer files are written from, by width of their activations.

    ``graph`` is the float graph whose weights and biases they store. ``trials`` are all files that
    were judged on the way; ``mix`` is what the search found; ``notes`` are for the sidecar.
    """

    graph: StepGraph
    calibration: Calibration
    quantized: Mapping[Width, QuantizedGraph]
    trials: tuple[Trial, ...] = ()
    mix: Mix | None = None
    notes: Mapping[str, str | int | float] = field(default_factory=dict)


def prepare(
    graph: StepGraph,
    contract: StftContract,
    material: Material,
    widths: Sequence[Width],
    settings: Quantizing | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Quantize a float graph for files of some ``widths``.

    Raises InputError for silent signals or a percentile that is none, GateUnavailable where a
    metric of the budget is not installed, and :class:`OutsideBudget` with the figures of every
    trial where nothing stays inside.
    """
    chosen, report = settings or Quantizing(), progress or _silent
    ready, calibration, notes = _calibrated(graph, contract, material, chosen, report)
    budget = chosen.budget or (DEFAULT_BUDGET if chosen.fine_tune else None)
    if budget is None:
        return Prepared(ready, calibration, _all(ready, calibration, widths), notes=notes)
    report("scoring the float graph", 0.2)
    reference = float_reference(graph, contract, material.held_out, budget)
    trials = [_tried(ready, calibration, width, reference) for width in widths]
    stacked = stack_features(contract, material.calibration)
    if chosen.fine_tune and not all(trial.inside for trial in trials):
        tuned = _fine_tuned(ready, calibration, stacked, contract, widths, chosen.fine_tune, report)
        again = [_tried(tuned.graph, calibration, one, reference, ", tuned") for one in widths]
        # What helps on the signals it was trained on may not help on others.
        better = tuned.helped and min(again, key=_snr).snr_db > min(trials, key=_snr).snr_db
        notes |= _noted(tuned, better)
        ready = tuned.graph if better else ready
        trials = [*trials, *again] if better else [*again, *trials]
    mix = None
    quantized = _all(ready, calibration, widths)
    if chosen.budget is not None:
        notes["quality_budget"] = str(budget)
        now = dict(zip(widths, trials[-len(widths) :], strict=True))
        if "int16x8" in now and not now["int16x8"].inside:
            raise OutsideBudget(reference, trials)
        if "int8" in now:
            mix = search(ready, calibration, reference, stacked, tuple(now.items()), report)
            trials += [trial for trial in mix.trials if trial not in trials]
            quantized["int8"] = quantize_graph(ready, calibration, mix.wide)
            notes["layers_in_int16"] = ", ".join(mix.wide) or "none"
    return Prepared(ready, calibration, quantized, tuple(trials), mix, notes)


def _calibrated(
    graph: StepGraph,
    contract: StftContract,
    material: Material,
    chosen: Quantizing,
    report: Progress,
) -> tuple[StepGraph, Calibration, Notes]:
    """The graph after what needs no labels and no training, its ranges, and what was done."""
    notes: Notes = {}
    signals = material.calibration
    if chosen.equalise:
        report("equalising", 0.0)
        equalised = equalise(graph, channel_reach(graph, stack_features(contract, signals)))
        graph = equalised.graph
        notes["equalised_channels"] = equalised.channels
    calibration = calibrate(
        graph,
        contract,
        signals,
        lambda done: report("calibrating", 0.05 + 0.1 * done),
        histograms=chosen.ranges != "minmax",
    )
    calibration = choose_ranges(calibration, chosen.ranges, chosen.percentile)
    notes["ranges"] = f"{DESCRIPTIONS[chosen.ranges]}, states carried".format(chosen.percentile)
    if chosen.correct_biases:
        report("correcting biases", 0.15)
        read = {operator.input.name for operator in graph.weighted}
        means = tensor_means(graph, stack_features(contract, signals), read)
        corrected = correct_biases(graph, quantize_graph(graph, calibration), means)
        graph = corrected.graph
        notes["corrected_biases"] = (
            f"by at most {max(corrected.shifts.values(), default=0.0):.2g} of an output's step"
        )
    return graph, calibration, notes


DESCRIPTIONS: dict[Method, str] = {
    "minmax": "true minimum and maximum",
    "percentile": "percentile {:g} at either end",
    "mse": "least mean square error",
}


def _wide(graph: StepGraph, width: Width) -> frozenset[str]:
    return wide_everywhere(graph) if width == "int16x8" else frozenset()


def _all(
    graph: StepGraph, calibration: Calibration, widths: Sequence[Width]
) -> dict[Width, QuantizedGraph]:
    return {width: quantize_graph(graph, calibration, _wide(graph, width)) for width in widths}


def _tried(
    graph: StepGraph, calibration: Calibration, width: Width, reference: Reference, what: str = ""
) -> Trial:
    wide = sorted(_wide(graph, width))
    quantized = quantize_graph(graph, calibration, wide)
    return try_out(quantized, reference, width + what, wide, widening_cost(graph, wide))


def _fine_tuned(
    graph: StepGraph,
    calibration: Calibration,
    stacked: Array,
    contract: StftContract,
    widths: Sequence[Width],
    steps: int,
    report: Progress,
) -> FineTuned:
    """Weights for the narrowest file that is wanted: what suits it suits a wider one."""
    wide = _wide(graph, "int8" if "int8" in widths else "int16x8")
    return fine_tune(
        graph,
        quantize_graph(graph, calibration, wide),
        stacked,
        contract.compression,
        steps,
        progress=lambda done: report("fine-tuning", 0.25 + 0.3 * done),
    )


def _snr(trial: Trial) -> float:
    return trial.snr_db


def _noted(tuned: FineTuned, used: bool) -> Notes:
    return {
        "fine_tuning": f"{tuned.steps} steps, " + ("used" if used else "not used"),
        "fine_tuning_loss_before": tuned.loss_before,
        "fine_tuning_loss_after": tuned.loss_after,
    }


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
