"""The ``profile`` command: what a model costs, here and on the devices it is for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import GateFailed, GateUnavailable, InputError
from targets.ranges import FiniteRange

if TYPE_CHECKING:
    from runtime.profiling.compare import Comparison
    from runtime.profiling.records import ProfileReport
    from targets.verdict import FitReport

PLACES = (
    "host, simulator[:CORE], vela[:NPU], adb[:SERIAL], ssh:USER@HOST[:PORT], "
    "serial:PORT[@BAUD], swo:TRACE"
)


@click.command(short_help="Measure models here, simulated and on devices.")
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT…")
@click.option(
    "--on",
    "places",
    multiple=True,
    metavar="PLACE",
    help=f"Where to measure: {PLACES}; repeatable.  [default: host, and what can stand in for "
    "the target]",
)
@click.option(
    "--target",
    metavar="NAME",
    help="Also say whether it fits this device or format (`sordino targets` lists them; a .toml "
    "file of your own will do). Exit status 1: it does not; 3: that is not known.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="On the host: onnxruntime (.onnx), litert, litert-reference, tflm (.tflite) or native "
    "(C); repeatable.  [default: by format]",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1, max=600.0),
    default=10.0,
    show_default=True,
    help="How long to time each model and engine.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1, max=10_000),
    default=100,
    show_default=True,
    help="Streaming frames compared with golden vectors where a core or device runs the model.",
)
@click.option(
    "--cpu",
    type=click.IntRange(min=0),
    help="The CPU to pin to.  [default: the last here, the fastest of a device]",
)
@click.option("--operators", is_flag=True, help="Show every operator: shape, MACs, bytes, cost.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a roofline plot (.png, .svg).")
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write node data for Model Explorer.",
)
@click.option(
    "--compare",
    "base",
    type=click.Path(path_type=Path),
    metavar="BASE.json",
    help="Compare with an earlier profile. Exit status 1: something got worse.",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="POLICY.toml",
    help="What --compare tolerates (docs/compare.md).",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="NEW.toml",
    help="Write --target anew with the speed that a board showed (docs/bench.md).",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def profile(
    artefacts: tuple[str, ...],
    places: tuple[str, ...],
    target: str | None,
    engines: tuple[str, ...],
    seconds: float,
    frames: int,
    cpu: int | None,
    operators: bool,
    plot: Path | None,
    nodes: Path | None,
    base: Path | None,
    policy: Path | None,
    calibrate: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure models: size, work, step latency, memory, every operator, and whether they fit.

    Every figure says where it comes from: exact (counted in the file), measured-host (timed on
    this machine, one pinned thread, in a process of its own), simulated (instructions, exact),
    modelled (a range and its assumptions) or measured-device. ARTEFACT is a file, the folder of a C
    model, or the name of a shipped model (`sordino models list`). A step is one hop of one channel
    through the network. Several models are timed in turns and compared by ratios. What cannot be
    had here is listed with the reason.

    \b
    sordino profile student-tflite-int8.tflite student-c-int8/
    sordino profile student-c-int8/ --on simulator:cortex-m4,cortex-m55 --operators
    sordino profile student-c-int8/ --on ssh:pi@raspberrypi.local --target raspberry-pi
    """
    from runtime.artefact import load_artefact
    from runtime.models import model_file
    from runtime.profiling.backends import Request, parse_place
    from runtime.profiling.profile import profile as run
    from targets.catalog import load_target

    if policy and not base:
        raise InputError("--policy is for --compare.", hint="Name the earlier profile: --compare.")
    if engines and places and "host" not in places:
        raise InputError("--engine is for this machine.", hint="Add --on host.")
    if calibrate:
        _check_calibration(target, places)
    for path in (output, plot, calibrate):
        _check_place(path)
    request = Request(
        seconds=seconds,
        frames=frames,
        engines=engines,
        target=load_target(target) if target else None,
        cpu=cpu,
    )
    options = (
        ("--on", places),
        ("--target", target),
        ("--engine", engines),
        ("--seconds", seconds),
        ("--frames", frames),
        ("--cpu", cpu),
    )
    comparing = _comparison(base, policy) if base else None
    loaded = [load_artefact(model_file(Path(name))) for name in artefacts]
    with _announcing(quiet=as_json) as announce:
        profiled = run(
            loaded,
            [parse_place(text) for text in places],
            request,
            command=_command(artefacts, options),
            announce=announce,
        )
    report = profiled.report
    comparison = comparing(report) if comparing else None
    # What was measured is safe, and shown, before anything is made of it.
    try:
        if output:
            _write(report, output)
    finally:
        _show(report, comparison, operators, as_json)
    if plot:
        from runtime.profiling.roofline import plot_roofline

        plot_roofline(report, request.target, plot)
    if nodes:
        from runtime.profiling.model_explorer import write_node_data

        write_node_data(report, nodes)
    if calibrate and request.target:
        if profiled.failures:
            raise profiled.failures[0]
        from runtime.devices.calibration import calibrated, write_profile

        write_profile(calibrated(request.target, loaded, report), calibrate)
    _judge(report, comparison)
    if profiled.failures:
        raise profiled.failures[0]


def _check_calibration(target: str | None, places: Sequence[str]) -> None:
    if not target:
        raise InputError("--calibrate needs the --target to start from.", hint="Add --target NAME.")
    if not any(place.startswith(("serial:", "swo:")) for place in places):
        raise InputError(
            "--calibrate needs a board to measure.",
            hint="Add --on serial:PORT; docs/bench.md shows the firmware for it.",
        )


def _check_place(path: Path | None) -> None:
    """Tell before anything is measured that a file cannot be written there."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist.", hint="Make it first.")
    if path.is_dir():
        raise InputError(f"{path} is a folder.", hint="Name a file to write.")


def _write(report: ProfileReport, path: Path) -> None:
    from runtime.artefact import write_atomically

    write_atomically(path, report.model_dump_json(indent=2, by_alias=True).encode() + b"\n")


def _comparison(base: Path, policy: Path | None) -> Callable[[ProfileReport], Comparison]:
    """A comparison with an earlier profile. Reads both files, so that a mistake shows before
    anything is measured."""
    from runtime.profiling.compare import compare
    from runtime.profiling.loading import load_report
    from runtime.profiling.policy import load_policy

    earlier, rules = load_report(base), load_policy(policy)
    return lambda report: compare(earlier, report, rules)


@contextmanager
def _announcing(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Say on stderr what is being done, where a person is looking."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda text: None
        return
    with console.status("Reading") as status:
        yield status.update


def _command(artefacts: tuple[str, ...], options: Sequence[tuple[str, object]]) -> str:
    """The command that makes this profile again."""
    words = ["sordino", "profile", *artefacts]
    for option, value in options:
        given = value if isinstance(value, tuple) else () if value is None else (value,)
        for each in given:
            words += [option, f"{each:g}" if isinstance(each, float) else str(each)]
    return shlex.join(words)


def _show(
    report: ProfileReport, comparison: Comparison | None, operators: bool, as_json: bool
) -> None:
    if as_json:
        record = report.model_dump(mode="json", by_alias=True)
        if comparison:
            record["comparison"] = comparison.model_dump(mode="json", by_alias=True)
        click.echo(json.dumps(record, indent=2))
        return
    from rich.console import Console

    from runtime.profiling.tables import comparison_table, report_tables

    tables: list[object] = [*report_tables(report, operators)]
    if comparison:
        tables.append(comparison_table(comparison))
    Console().print(*tables, sep="\n")
    click.echo(f"To measure again: {report.command}")


def _judge(report: ProfileReport, comparison: Comparison | None) -> None:
    """Raise what the exit status has to say: what is wrong before what is not known."""
    for subject in report.subjects:
        for reading in subject.readings:
            if reading.matches is False:
                raise GateFailed(
                    f"{subject.artefact} on {reading.place}: {reading.difference}",
                    hint="`sordino verify` compares it step by step on this machine.",
                )
    if comparison:
        comparison.raise_verdict()
    for wanted, error, text in (
        ("does not fit", GateFailed, "does not fit"),
        ("unknown", GateUnavailable, "may or may not fit"),
    ):
        for subject in report.subjects:
            if subject.fit and subject.fit.verdict == wanted:
                lines = [line for line in subject.fit.lines if line.verdict == wanted]
                raise error(
                    f"{subject.artefact} {text} {subject.fit.target}: "
                    f"{', '.join(line.budget for line in lines)}.",
                    hint=_what_would_help(subject.fit),
                )


def _what_would_help(fit: FitReport) -> str:
    if fit.remedies:
        return f"The cheapest change that would: {fit.remedies[0].text}."
    unknown = [line for line in fit.lines if line.verdict == "unknown"]
    if missing := [part for line in unknown for part in line.missing]:
        return f"Not known: {', '.join(dict.fromkeys(missing))}."
    return "The table of the fit says why."
