"""The cheapest mix of int8 and int16 activations that stays inside a quality budget.

If int8 is inside, it is the answer. Otherwise all layers start in int16 and are taken back in the
order in which they cost most for the least noise (the greedy peeling by which Charikar, "Greedy
Approximation Algorithms for Finding Dense Components in a Graph", 2000, finds dense subgraphs:
noise belongs to pairs of layers). How far to peel is found by bisection, then single layers are
tried once more. The order is estimated; every mix that is judged is a real file on the held-out
mixtures, scored with the budget's own metrics. A mix that is further from the float graph than
plain int8 is not taken even if it is inside: on other mixtures it would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from export.calibration import Calibration, stack_features
from export.error_report import TensorError, error_report
from export.executor import Array
from export.quantization import quantize_graph
from export.sensitivity import Sensitivity, measure_sensitivity
from export.step_graph import StepGraph
from export.trial import Reference, Trial, try_out
from export.widening_cost import Unit, units
from targets.errors import GateFailed

LAST_TRIES = 6  # single layers that are taken back at the end, the dearest first

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class LayerNoise:
    """A unit of layers: its share of the expected noise, its cost in int16, and the choice."""

    layers: tuple[str, ...]
    share: float
    cost: float
    wide: bool


@dataclass(frozen=True)
class Mix:
    """What the search found: the layers in int16 (none: all int8), and all that led there.

    ``errors`` are those of the all-int8 file, empty where that was inside at once.
    """

    wide: tuple[str, ...]
    chosen: Trial
    trials: tuple[Trial, ...]
    layers: tuple[LayerNoise, ...] = ()
    errors: tuple[TensorError, ...] = field(default=(), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per unit of layers in int16."""
        return tuple(one.layers[0] for one in self.layers if one.wide)


class OutsideBudget(GateFailed):
    """No mix is inside the budget; ``trials`` say by how much."""

    def __init__(self, reference: Reference, trials: Sequence[Trial]) -> None:
        self.trials = tuple(trials)
        figures = "; ".join(f"{trial.what} loses {losses_text(trial)}" for trial in trials)
        super().__init__(
            f"No mix of int8 and int16 stays inside the quality budget ({reference.budget}): "
            f"{figures}.",
            hint="int8 weights cost too much: fine-tune (--fine-tune 300), or widen the budget.",
        )


def search(
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    stacked: Array,
    known: Sequence[tuple[str, Trial]] = (),
    progress: Progress | None = None,
) -> Mix:
    """Find the mix for a graph.

    Sensitivities are measured on features ``stacked`` ``[streams, frames, bins, 3]``, which are
    not those of the held-out mixtures; ``known`` are trials of "int8" and "int16x8" made before.
    Raises :class:`OutsideBudget` when even int16 activations throughout lose more than the budget.
    """
    report = progress or _silent
    judge = _Judge(graph, calibration, reference, units(graph), report)
    nothing, everything = frozenset[int](), frozenset(range(len(judge.parts)))
    sets = {"int8": nothing, "int16x8": everything}
    judge.trials.update({sets[name]: trial for name, trial in known if name in sets})
    narrow = judge.trial(nothing, "int8")
    if narrow.inside:
        return Mix((), narrow, (narrow,))
    if not judge.trial(everything, "int16x8").inside:
        raise OutsideBudget(reference, list(judge.trials.values()))
    sensitivity = measure_sensitivity(
        graph,
        calibration,
        judge.parts,
        stacked,
        lambda done: report("measuring what layers lose", 0.6 + 0.1 * done),
    )
    wide = _bisected(judge, everything, peeling_order(judge.parts, sensitivity))
    for index in sorted(wide, key=lambda one: -judge.parts[one].cost)[:LAST_TRIES]:
        if judge.good(wide - {index}, f"{len(wide)} but {judge.parts[index].name}"):
            wide = wide - {index}
    heard = stack_features(reference.contract, [item.noisy for item in reference.mixtures])
    errors = error_report(
        graph, quantize_graph(graph, calibration), heard.reshape(-1, *heard.shape[2:])
    )
    layers = tuple(
        LayerNoise(part.layers, sensitivity.share(index), part.cost, index in wide)
        for index, part in enumerate(judge.parts)
    )
    chosen = judge.trials[wide]
    return Mix(chosen.layers, chosen, tuple(judge.trials.values()), layers, tuple(errors))


@dataclass(frozen=True)
class _Judge:
    """Makes and remembers trials; sets of layers are indices of ``parts``."""

    graph: StepGraph
    calibration: Calibration
    reference: Reference
    parts: Sequence[Unit]
    report: Progress
    trials: dict[frozenset[int], Trial] = field(default_factory=dict)

    def trial(self, wide: frozenset[int], what: str) -> Trial:
        if wide not in self.trials:
            self.report(f"trying {what}", min(0.7 + 0.02 * len(self.trials), 0.98))
            names = [layer for index in sorted(wide) for layer in self.parts[index].layers]
            cost = sum(self.parts[index].cost for index in wide)
            quantized = quantize_graph(self.graph, self.calibration, names)
            self.trials[wide] = try_out(quantized, self.reference, what, names, cost)
        return self.trials[wide]

    def good(self, wide: frozenset[int], what: str) -> bool:
        """Whether a mix is inside, and no further from the float graph than int8."""
        trial = self.trial(wide, what)
        return trial.inside and trial.snr_db >= self.trials[frozenset()].snr_db


def _bisected(judge: _Judge, everything: frozenset[int], order: Sequence[int]) -> frozenset[int]:
    """How far layers can go back to int8 in this order: none is inside, all are not."""
    inside, outside = 0, len(order)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        wide = everything.difference(order[:middle])
        if judge.good(wide, f"{len(wide)} in int16"):
            inside = middle
        else:
            outside = middle
    return everything.difference(order[:inside])


def peeling_order(parts: Sequence[Unit], sensitivity: Sensitivity) -> list[int]:
    """Units in the order in which they go back to int8: least noise per cost saved first."""
    wide = [True] * len(parts)

    def price(index: int) -> float:
        """Noise of the mix without this unit, beyond that of the mix, per cost saved."""
        without = [chosen and other != index for other, chosen in enumerate(wide)]
        return (sensitivity.noise(without) - sensitivity.noise(wide)) / parts[index].cost

    order: list[int] = []
    while len(order) < len(parts):
        chosen = min((index for index in range(len(parts)) if wide[index]), key=price)
        wide[chosen] = False
        order.append(chosen)
    return order


def losses_text(trial: Trial) -> str:
    """Losses of a trial for a sentence."""
    return ", ".join(
        f"{field} {'not measured' if loss is None else f'{loss:+.3f}'}"
        for field, loss in trial.losses.items()
    )


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
