"""The ``live`` command: microphone to loudspeaker, through a model."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targets.errors import InputError
from targets.ranges import FiniteRange

if TYPE_CHECKING:
    from rich.table import Table

    from runtime.live_audio import LiveSession, LiveSummary, Status

REFRESH_SECONDS = 0.2
STEP_DB = 3.0
MOST_DB = 40.0  # of the limit, beyond which nobody hears one
KEYS = "b bypass   + − attenuation limit   q quit"


@click.command(short_help="Denoise the microphone, live.")
@click.option(
    "--model",
    metavar="ARTEFACT|NAME",
    type=click.Path(path_type=Path),
    help="The .tflite or .onnx file, or the folder of a C model, beside its sidecar; or a shipped "
    "model (`sordino models list`).  [default: mcu]",
)
@click.option("--engine", metavar="NAME", help="What runs it.  [default: by format]")
@click.option(
    "--input", "source", metavar="DEVICE", help="Name or number.  [default: the system's]"
)
@click.option("--output", "sink", metavar="DEVICE", help="Name or number.  [default: the system's]")
@click.option("--devices", "listing", is_flag=True, help="List the audio devices and end.")
@click.option(
    "--attenuation-limit",
    "limit_db",
    type=FiniteRange(min=0.0),
    metavar="dB",
    help="Lower noise by at most this much.  [default: no limit]",
)
@click.option("--bypass", is_flag=True, help="Start bypassed.")
@click.option(
    "--block",
    "block_hops",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="HOPS",
    help="Hops a callback handles at once: more is safer and later.",
)
@click.option(
    "--latency",
    default="low",
    show_default=True,
    metavar="low|high|MS",
    help="What to ask of the audio device.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1),
    help="End after this long.  [default: at q or Ctrl-C]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def live(
    model: Path | None,
    engine: str | None,
    source: str | None,
    sink: str | None,
    listing: bool,
    limit_db: float | None,
    bypass: bool,
    block_hops: int,
    latency: str,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Denoise what the microphone hears and play it, hop by hop.

    Use headphones: a loudspeaker would feed the microphone. Load is computing time as a share of
    a block, xruns are blocks that the audio system lost or played late, latency is that of the
    device plus the delay of the model. Keys: b bypasses with the same delay, + and - move the
    attenuation limit by 3 dB, q ends. Exit status 3: no audio device could be opened.
    """
    from runtime.artefact import load_artefact
    from runtime.live_audio import Devices, LiveSession
    from runtime.models import default_model, model_file

    if listing:
        _list_devices(as_json)
        return
    artefact = load_artefact(model_file(model) if model else default_model())
    if model is None and not as_json:
        click.echo(f"Model: {artefact.sidecar.name}; --model takes another.", err=True)
    session = LiveSession(artefact, engine=engine, block_hops=block_hops, limit_db=limit_db)
    if bypass:
        session.toggle_bypass()
    devices = Devices(_device(source), _device(sink), _latency(latency))
    summary = _run(session, devices, seconds, quiet=as_json)
    if as_json:
        click.echo(summary.model_dump_json(indent=2))
        return
    figures = "   ".join(
        f"{figure.name} {figure.value:.1f} {figure.unit} ({figure.provenance})"
        for figure in summary.figures
    )
    click.echo(f"{summary.model}, {summary.engine}: {summary.seconds:.1f} s, {summary.xruns} xruns")
    click.echo(figures)


def _run(session: LiveSession, devices: Any, seconds: float | None, *, quiet: bool) -> LiveSummary:
    from runtime.live_audio import check_running, open_stream, stream_seconds

    with open_stream(session, devices) as stream, _shown(quiet) as show, _keys() as pressed:
        device_seconds = stream_seconds(stream)
        until = time.monotonic() + seconds if seconds else None
        try:
            while until is None or time.monotonic() < until:
                left = REFRESH_SECONDS if until is None else until - time.monotonic()
                key = pressed(max(0.0, min(REFRESH_SECONDS, left)))
                if key == "q":
                    break
                act(session, key)
                session.check()
                check_running(stream)
                show(session.status(device_seconds))
        except KeyboardInterrupt:
            pass  # the usual way to end it
    return session.summary(device_seconds)


def act(session: LiveSession, key: str) -> None:
    """Do what a key stands for; other keys do nothing."""
    limit = session.limit_db
    if key == "b":
        session.toggle_bypass()
    elif key in ("+", "="):  # more attenuation, in the end without limit
        raised = None if limit is None or limit >= MOST_DB else limit + STEP_DB
        session.limit_attenuation(raised)
    elif key in ("-", "_"):
        lowered = MOST_DB if limit is None else max(0.0, limit - STEP_DB)
        session.limit_attenuation(lowered)


def _device(text: str | None) -> str | int | None:
    return int(text) if text and text.isdecimal() else text


def _latency(text: str) -> Any:
    if text in ("low", "high"):
        return text
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = 0.0
    if not 0.0 < milliseconds < 10_000.0:
        raise InputError(f"{text!r} is no latency.", hint="Give low, high, or milliseconds.")
    return milliseconds / 1e3


def _list_devices(as_json: bool) -> None:
    from runtime.live_audio import device_table

    devices = device_table()
    if as_json:
        click.echo(json.dumps(devices, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "name", "interface", "in", "out", "rate", title="Audio devices")
    for device in devices:
        row = {**device, "sample_rate": f"{device['sample_rate']:g} Hz"}
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table if devices else "No audio device was found.")


@contextmanager
def _shown(quiet: bool) -> Iterator[Callable[[Status], None]]:
    """A display on the terminal, or none where nobody looks."""
    if quiet or not sys.stdout.isatty():
        yield lambda status: None
        return
    from rich.live import Live

    with Live(auto_refresh=False) as display:
        yield lambda status: display.update(status_table(status), refresh=True)


def status_table(status: Status) -> Table:
    """Load, xruns, latency and levels of a live session."""
    from rich.table import Table

    table = Table(show_header=False, box=None, caption=KEYS, caption_justify="left")
    mode = "[yellow]bypassed[/]" if status.bypassed else "[green]denoising[/]"
    limit = "none" if status.limit_db is None else f"{status.limit_db:g} dB"
    colour = "red" if status.xruns else "green"
    total = status.device_ms + status.algorithmic_ms
    table.add_row("mode", f"{mode}, attenuation limit {limit}")
    table.add_row("load", f"{status.load:6.1%} mean, {status.peak_load:6.1%} peak of a block")
    table.add_row("xruns", f"[{colour}]{status.xruns}[/] in {status.seconds:.0f} s")
    table.add_row(
        "latency",
        f"{total:.0f} ms: device {status.device_ms:.0f} (stated), "
        f"model {status.algorithmic_ms:.0f} (exact)",
    )
    table.add_row("level", f"in {status.input_db:6.1f} dBFS, out {status.output_db:6.1f} dBFS")
    return table


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits for a key, so many seconds at most; empty where none came."""

    def wait(seconds: float) -> str:
        time.sleep(seconds)
        return ""

    if not sys.stdin.isatty():
        yield wait
        return
    import select
    import termios
    import tty

    def read(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        # Not sys.stdin.read, whose buffer would keep further keys where select does not see them.
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if ready else ""

    usual = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield read
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, usual)
