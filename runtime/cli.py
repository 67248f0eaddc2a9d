"""The commands ``denoise`` and ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import InputError

if TYPE_CHECKING:
    from runtime.artefact import Artefact

PIPE = "-"
ENGINE_HELP = "onnxruntime (.onnx), litert, litert-reference or tflm (.tflite)"


@click.command(short_help="Clean a file or a live stream.")
@click.argument("noisy")
@click.argument("clean")
@click.option(
    "--model",
    metavar="ARTEFACT|NAME",
    type=click.Path(path_type=Path),
    help="The .tflite or .onnx file, its .json sidecar beside it; or a shipped model "
    "(`sordino models list`).  [default: mcu]",
)
@click.option(
    "--engine", metavar="NAME", help=f"{ENGINE_HELP}.  [default: litert or onnxruntime, by format]"
)
@click.option(
    "--attenuation-limit",
    "limit_db",
    type=float,
    metavar="dB",
    help="Lower noise by at most this much: 12 sounds natural in conversation, 0 changes nothing. "
    "[default: no limit]",
)
@click.option(
    "--channels",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Interleaved channels of a live pipe; files say it themselves.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary (to stderr for a pipe).")
def denoise(
    noisy: str,
    clean: str,
    model: Path | None,
    engine: str | None,
    limit_db: float | None,
    channels: int,
    as_json: bool,
) -> None:
    """Denoise the recording NOISY into the file CLEAN, or a live stream.

    NOISY is wav, flac, ogg or mp3 of any rate, length and number of channels. CLEAN has the same
    rate, length and channels, its format follows its suffix (.wav, .flac or .ogg), and sample
    format is kept where that format has it. Samples stay in place: the delay of the model is
    compensated. Channels are denoised apart. Above half the model's rate (8 kHz for 16 kHz)
    nothing passes. An existing CLEAN is replaced only once all is done.

    With - for both, raw signed 16-bit little-endian PCM at the model's rate flows from stdin to
    stdout, hop by hop. The output trails by the algorithmic delay of the model, buffering of a hop
    included (`sordino profile` states it); the tail is flushed at the end of the input:

    \b
    arecord -t raw -f S16_LE -r 16000 | sordino denoise - - | aplay -t raw -f S16_LE -r 16000
    """
    from runtime.artefact import load_artefact
    from runtime.models import default_model, model_file

    piped = (noisy == PIPE, clean == PIPE)
    if any(piped) and not all(piped):
        raise InputError(
            "A live pipe needs - for input and output alike.",
            hint="Name two files, or use `sordino denoise - -`.",
        )
    if not any(piped):
        _check_source(Path(noisy))
    artefact = load_artefact(model_file(model) if model else default_model())
    if model is None and not as_json:
        click.echo(f"Model: {artefact.sidecar.name}; --model takes another.", err=True)
    if all(piped):
        _denoise_pipe(artefact, engine, limit_db, channels, as_json)
    else:
        _denoise_file(artefact, Path(noisy), Path(clean), engine, limit_db, as_json)


def _check_source(path: Path) -> None:
    """A mistyped recording is named before anything is said about the model."""
    if not path.exists():
        raise InputError(f"No file at {path}.", hint="Check the path of the recording.")


def _denoise_file(
    artefact: Artefact,
    source: Path,
    destination: Path,
    engine: str | None,
    limit_db: float | None,
    as_json: bool,
) -> None:
    from runtime.denoiser import denoise_file
    from runtime.progress import ProgressBar

    with ProgressBar(source.name) as bar:
        summary = denoise_file(
            artefact,
            source,
            destination,
            engine_name=engine,
            attenuation_limit_db=limit_db,
            progress=bar.update,
        )
    if as_json:
        click.echo(summary.model_dump_json(indent=2))
        return
    channels = "1 channel" if summary.channels == 1 else f"{summary.channels} channels"
    click.echo(
        f"{summary.destination}: {summary.seconds:.2f} s, {summary.sample_rate} Hz, {channels}, "
        f"{summary.engine}, {1.0 / summary.realtime_factor:.0f} times faster than real time"
    )
    if summary.clipped_samples:
        click.echo(f"{summary.clipped_samples} samples beyond full scale were saturated.", err=True)


def _denoise_pipe(
    artefact: Artefact, engine: str | None, limit_db: float | None, channels: int, as_json: bool
) -> None:
    from runtime.live import denoise_pipe

    if sys.stdin.isatty():
        raise InputError(
            "A live pipe reads raw PCM from stdin, which is a terminal here.",
            hint="Pipe a recorder into it, as `sordino denoise --help` shows.",
        )
    summary = denoise_pipe(
        artefact,
        sys.stdin.buffer,
        sys.stdout.buffer,
        engine_name=engine,
        channels=channels,
        attenuation_limit_db=limit_db,
    )
    if as_json:
        click.echo(summary.model_dump_json(indent=2), err=True)


@click.command(short_help="Say what this machine has and what it lacks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Say which engines, metrics and tools this machine has, and how to get the rest."""
    import json
    from dataclasses import asdict

    from runtime.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    from rich.console import Console

    from runtime.tables import doctor_table

    Console().print(doctor_table(findings))
