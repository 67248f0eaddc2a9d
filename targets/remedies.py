"""The cheapest changes after which a target no longer refuses an artefact.

Nothing is proposed that was not judged: every candidate is a changed artefact, or a changed target,
whose verdict is computed. A line counts as mended when it fits, or when nothing is unknown of it
that was known before. Candidates of one kind are as large as the budget allows, found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from targets.fit import fit_verdict
from targets.needs import Needs
from targets.schema import Target
from targets.verdict import FitLine, FitReport, Remedy

# The same arithmetic as generated C: the same numbers, so the same quality.
AS_C = {
    "tflite-int8": "c-int8",
    "tflite-int16x8": "c-int16x8",
    "tflite-fp32": "c-fp32",
    "onnx-fp32": "c-fp32",
}
MOST_STEPS = 6  # changes in one remedy
MOST_REMEDIES = 4
HIGHEST_CLOCK_MHZ = 4000

# What a change asks of whoever makes it, rising.
EXPORTED, LINKER, EXPORT, TRAINING, CONTRACT, BOARD = range(6)


@dataclass(frozen=True)
class Solution:
    """A changed artefact on a changed target."""

    target: Target
    needs: Needs
    changes: tuple[str, ...] = ()
    costs: tuple[int, ...] = ()

    def changed(
        self, text: str, cost: int, *, needs: Needs | None = None, target: Target | None = None
    ) -> Solution:
        return replace(
            self,
            target=target or self.target,
            needs=needs or self.needs,
            changes=(*self.changes, text),
            costs=(*self.costs, cost),
        )

    def report(self) -> FitReport:
        return fit_verdict(self.target, self.needs)

    def line(self, budget: str) -> FitLine | None:
        return next((line for line in self.report().lines if line.budget == budget), None)


def advise(target: Target, needs: Needs, siblings: Sequence[Needs] = ()) -> FitReport:
    """The fit, with remedies where it fails. ``siblings`` are other formats of the same network."""
    report = fit_verdict(target, needs)
    found = solutions(target, needs, siblings)
    remedies = tuple(
        Remedy(changes=one.changes, verdict=one.report().verdict) for one in found[:MOST_REMEDIES]
    )
    return report.model_copy(update={"remedies": remedies})


def solutions(target: Target, needs: Needs, siblings: Sequence[Needs] = ()) -> list[Solution]:
    """Changes after which no line fails, the cheapest first; none where nothing fails."""
    start = Solution(target, needs)
    failing = start.report().failing()
    found: list[Solution] = []
    for first in _mends(start, failing[0], siblings) if failing else ():
        solution = _completed(first, siblings)
        if solution is not None and solution.changes not in [one.changes for one in found]:
            found.append(solution)
    return sorted(found, key=lambda one: (max(one.costs), len(one.costs)))


def all_mended(before: FitReport, after: FitReport) -> bool:
    """Whether every line that failed is mended, and no other fails."""
    lines = {line.budget: line for line in after.lines}
    failing = [line for line in before.lines if line.verdict == "does not fit"]
    return not after.failing() and all(_mended(line, lines[line.budget]) for line in failing)


def _completed(solution: Solution, siblings: Sequence[Needs]) -> Solution | None:
    """Further changes, each the cheapest for the first line that still fails."""
    while failing := solution.report().failing():
        if len(solution.changes) >= MOST_STEPS:
            return None
        further = next(iter(_mends(solution, failing[0], siblings)), None)
        if further is None:
            return None
        solution = further
    return solution


def _mends(solution: Solution, budget: str, siblings: Sequence[Needs]) -> Iterator[Solution]:
    """Changes that mend one line, whatever becomes of others."""
    before = solution.line(budget)
    for kind in CANDIDATES[budget]:
        for changed in kind(solution, budget, siblings):
            after = changed.line(budget)
            if before is not None and after is not None and _mended(before, after):
                yield changed


def _mended(before: FitLine, after: FitLine) -> bool:
    if after.verdict == "unknown":
        return set(after.missing) <= set(before.missing)
    return after.verdict in ("fits", "no limit")


# Candidates


def _other_formats(
    solution: Solution, budget: str, siblings: Sequence[Needs]
) -> Iterator[Solution]:
    """Formats that were exported too, in the order in which the target prefers them."""
    for name in solution.target.formats:
        for sibling in siblings:
            if sibling.format == name != solution.needs.format:
                text = f"{name} instead of {solution.needs.format}"
                yield solution.changed(text, EXPORTED, needs=sibling)


def _another_export(
    solution: Solution, budget: str, siblings: Sequence[Needs]
) -> Iterator[Solution]:
    """Another format of the same network, of which no more is known than its work."""
    needs, exported = solution.needs, {sibling.format for sibling in siblings}
    same = AS_C.get(needs.format, "")
    wanted = solution.target.formats if budget == "format" else (same,)
    for name in sorted(wanted, key=lambda name: name != same):
        if name in solution.target.formats and name != needs.format and name not in exported:
            bare = Needs(
                format=name,
                parameters=needs.parameters,
                macs_per_step=needs.macs_per_step,
                hop_samples=needs.hop_samples,
                sample_rate=needs.sample_rate,
                algorithmic_delay=needs.algorithmic_delay,
            )
            text = f"an export as {name} instead of {needs.format}"
            yield solution.changed(text, EXPORT, needs=bare)


def _weights_elsewhere(
    solution: Solution, budget: str, siblings: Sequence[Needs]
) -> Iterator[Solution]:
    """Weights in another region that may hold them."""
    regions = solution.target.regions_for("weights")
    for region in regions[1:]:
        others = [other for other in solution.target.memory if other != region]
        moved = solution.target.model_copy(update={"memory": (region, *others)})
        text = f"weights in {region.name} instead of {regions[0].name}"
        yield solution.changed(text, LINKER, target=moved)


def _fewer_weights(
    solution: Solution, budget: str, siblings: Sequence[Needs]
) -> Iterator[Solution]:
    constants = solution.needs.constant_bytes
    if constants is None:
        return

    def smaller(size: int) -> Solution:
        share = f"{1 - size / constants:.0%} fewer"
        text = f"at most {size:,} bytes of constants ({share} than {constants:,})"
        needs = solution.needs.model_copy(update={"constant_bytes": size})
        return solution.changed(text, TRAINING, needs=needs)

    yield from _largest_that_mends(solution, budget, smaller, constants)


def _fewer_macs(solution: Solution, budget: str, siblings: Sequence[Needs]) -> Iterator[Solution]:
    work = solution.needs.macs_per_step
    if work is None:
        return

    def smaller(macs: int) -> Solution:
        needs = _with_macs(solution.needs, macs)
        text = f"at most {macs:,} MACs a step instead of {work:,}, each taking as long"
        return solution.changed(text, TRAINING, needs=needs)

    yield from _largest_that_mends(solution, budget, smaller, work)


def _less_memory(solution: Solution, budget: str, siblings: Sequence[Needs]) -> Iterator[Solution]:
    needs = solution.needs
    fields = ("static_ram_bytes", "process_bytes", "arena_bytes")
    field = next((name for name in fields if getattr(needs, name) is not None), None)
    if field is None:
        return
    size = int(getattr(needs, field))

    def smaller(count: int) -> Solution:
        text = f"at most {count:,} bytes of states and activations instead of {size:,}"
        return solution.changed(text, TRAINING, needs=needs.model_copy(update={field: count}))

    yield from _largest_that_mends(solution, budget, smaller, size)


def _shorter_window(
    solution: Solution, budget: str, siblings: Sequence[Needs]
) -> Iterator[Solution]:
    """A contract of less delay; a synthesis window has two hops at least."""
    needs = solution.needs

    def shorter(delay: int) -> Solution:
        hop = max(1, min(needs.hop_samples, delay // 2))
        milliseconds = [1e3 * samples / needs.sample_rate for samples in (delay, hop)]
        text = (
            f"a contract of at most {milliseconds[0]:g} ms of window and look-ahead "
            f"(here with a hop of {milliseconds[1]:g} ms)"
        )
        update = {"algorithmic_delay": delay, "hop_samples": hop}
        return solution.changed(text, CONTRACT, needs=needs.model_copy(update=update))

    yield from _largest_that_mends(solution, budget, shorter, needs.algorithmic_delay)


def _higher_clock(solution: Solution, budget: str, siblings: Sequence[Needs]) -> Iterator[Solution]:
    clock = solution.target.clock_mhz
    if clock is None or solution.needs.p99_us is not None:
        return

    def slower_than_highest(mhz: int) -> Solution:
        faster = solution.target.model_copy(update={"clock_mhz": float(HIGHEST_CLOCK_MHZ - mhz)})
        text = f"the same core at {HIGHEST_CLOCK_MHZ - mhz} MHz or more instead of {clock:g} MHz"
        return solution.changed(text, BOARD, target=faster)

    span = HIGHEST_CLOCK_MHZ - int(clock)
    yield from _largest_that_mends(solution, budget, slower_than_highest, span)


_Candidates = Callable[[Solution, str, Sequence[Needs]], Iterator[Solution]]
_LESS_WORK: tuple[_Candidates, ...] = (_other_formats, _another_export, _fewer_macs)
CANDIDATES: dict[str, tuple[_Candidates, ...]] = {
    "format": (_other_formats, _another_export),
    "operators": (_other_formats, _another_export),
    "flash": (_other_formats, _fewer_weights),
    "RAM": (_other_formats, _less_memory),
    "real time": (
        _other_formats,
        _weights_elsewhere,
        _another_export,
        _fewer_macs,
        _fewer_weights,
        _higher_clock,
    ),
    "algorithmic latency": (_shorter_window,),
    "total latency": (_weights_elsewhere, *_LESS_WORK, _shorter_window, _higher_clock),
    "power": (_weights_elsewhere, *_LESS_WORK),
}


def _with_macs(needs: Needs, macs: int) -> Needs:
    """Less work at as many instructions, or as much measured time, for each MAC."""
    share = macs / needs.macs_per_step if needs.macs_per_step else 1.0
    update: dict[str, object] = {"macs_per_step": macs}
    if needs.instructions is not None:
        update["instructions"] = int(needs.instructions * share)
    if needs.p99_us is not None:
        update["p99_us"] = needs.p99_us * share
    return needs.model_copy(update=update)


def _largest_that_mends(
    solution: Solution, budget: str, make: Callable[[int], Solution], size: int
) -> Iterator[Solution]:
    """What ``make`` gives of the largest size below ``size`` that mends the line, if one does."""
    before = solution.line(budget)

    def mends(count: int) -> bool:
        after = make(count).line(budget)
        return before is not None and after is not None and _mended(before, after)

    if size > 1 and mends(1):
        yield make(_largest(mends, size - 1))


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to ``most`` that holds; all up to it do, and 1 is one of them."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
