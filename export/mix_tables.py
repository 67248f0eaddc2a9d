"""How a mix of int8 and int16 was arrived at, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from export.error_report import TensorError, report_json, report_rows
from export.mixed_precision import Mix, losses_text
from export.preparation import Prepared
from export.trial import Trial

TENSORS_SHOWN = 12
COST = "Cost: see docs/quantization.md; losses and SNR against the float graph"


def quantizing_tables(prepared: Prepared) -> list[Table]:
    """Every file that was judged, the tensors that lose most, and the layers in the order found."""
    tables = [_trials(prepared.trials)] if prepared.trials else []
    if prepared.mix is not None and prepared.mix.errors:
        tables += [_errors(prepared.mix.errors), _layers(prepared.mix)]
    return tables


def quantizing_json(prepared: Prepared) -> dict[str, object]:
    """The same for ``--json``, with every tensor."""
    mix = prepared.mix
    return {
        "notes": dict(prepared.notes),
        "trials": [asdict(trial) for trial in prepared.trials],
        "int16": list(mix.wide) if mix else [],
        "layers": [asdict(layer) for layer in mix.layers] if mix else [],
        "errors": report_json(mix.errors) if mix else [],
    }


def _trials(trials: Sequence[Trial]) -> Table:
    table = Table(title="Files judged on the way", caption=COST)
    for column in ("file", "in int16", "cost", "losses", "SNR", "verdict"):
        table.add_column(column, overflow="fold")
    for trial in trials:
        table.add_row(
            escape(trial.what),
            str(len(trial.layers)),
            f"{trial.cost:,.0f}",
            losses_text(trial),
            f"{trial.snr_db:.1f} dB",
            "[green]inside[/]" if trial.inside else "[red]outside[/]",
        )
    return table


def _errors(errors: Sequence[TensorError]) -> Table:
    table = Table(title="Tensors of the int8 file that lose most (SQNR to float, dB)")
    for column in (
        "tensor",
        "operator",
        "width",
        "one step, dB",
        "states carried, dB",
        "saturated",
    ):
        table.add_column(column, overflow="fold")
    for row in report_rows(errors, TENSORS_SHOWN):
        table.add_row(*map(escape, row))
    if len(errors) > TENSORS_SHOWN:
        table.caption = f"{len(errors) - TENSORS_SHOWN} more with --json"
    return table


def _layers(mix: Mix) -> Table:
    table = Table(title="Layers, by their share of the noise")
    for column in ("layer", "share", "cost in int16", "width"):
        table.add_column(column, overflow="fold")
    for layer in sorted(mix.layers, key=lambda one: -one.share):
        names = layer.layers[0] + (f" (+{len(layer.layers) - 1})" if len(layer.layers) > 1 else "")
        table.add_row(
            escape(names),
            f"{layer.share:.1%}",
            f"{layer.cost:,.0f}",
            "[bold]int16[/]" if layer.wide else "int8",
        )
    return table
