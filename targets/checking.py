"""Everything that is wrong with a profile, and what is valid but leaves a verdict unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from targets.catalog import BUILTIN, list_targets, origin_of
from targets.errors import InputError
from targets.own import own_folder
from targets.reading import InvalidProfileError, read_profile
from targets.schema import Problem, Target


@dataclass(frozen=True)
class Checked:
    """One file: ``problems`` make it no profile, ``remarks`` say what it leaves open."""

    path: Path
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...] = ()


def check_file(path: Path) -> Checked:
    """Check one file. Raises nothing: a file that cannot be read has that problem."""
    try:
        target = read_profile(path)
    except InvalidProfileError as error:
        return Checked(path, error.problems)
    except InputError as error:
        return Checked(path, (Problem("file", error.message.rstrip(".")),))
    return Checked(path, tuple(_naming(path, target)), tuple(_remarks(target)))


def _naming(path: Path, target: Target) -> Iterator[Problem]:
    in_folder = path.resolve().parent == own_folder().resolve()
    if target.name in BUILTIN and (in_folder or origin_of(target) == "custom"):
        yield Problem("name", f"{target.name!r} is a built-in target; choose another name")
    elif in_folder and target.name != path.stem:
        yield Problem("name", f"is {target.name!r}, but in this folder the file names the target")


def _remarks(target: Target) -> Iterator[Problem]:
    for index, source in enumerate(target.sources):
        if not source.url:
            yield Problem(f"sources[{index}].url", "not given, so nobody else can look it up")
    if target.kind == "format":
        return
    known = {one.name for one in list_targets() if one.kind == "format"}
    if strange := [one for one in target.formats if one not in known]:
        yield Problem("formats", f"sordino makes no {', '.join(strange)}")
    if not target.core or target.clock_mhz is None:
        yield Problem("core and clock_mhz", "not both given, so real time needs a measurement")
    yield from _memory_remarks(target)


def _memory_remarks(target: Target) -> Iterator[Problem]:
    budget = target.budget
    if target.weight_bytes is None and budget.weight_bytes is None:
        yield Problem("memory", _unknown(target, "weights", "whether the weights fit"))
    if target.ram_bytes is None and budget.ram_bytes is None:
        yield Problem("memory", _unknown(target, "data", "whether RAM suffices"))
    if target.memory and not target.regions_for("code"):
        yield Problem("memory", "no region holds code")
    for index, region in enumerate(target.memory):
        outside = region.kind in ("external-flash", "storage", "external-ram")
        if outside and "weights" in region.holds and region.read_mb_s is None:
            wrong = "not given, so the time to read weights from outside the chip is unknown"
            yield Problem(f"memory[{index}].read_mb_s", wrong)


def _unknown(target: Target, content: str, verdict: str) -> str:
    regions = [region.name for region in target.memory if content in region.holds]
    if not regions:
        return f"no region holds {content} and no budget is given, so {verdict} is unknown"
    return f"not every region that holds {content} has a size, so {verdict} is unknown"
