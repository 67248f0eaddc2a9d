"""What one run of a study came to, and the table of all of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.artefact import write_atomically
from targets.errors import InputError

RESULT = "result.json"
TABLE = "study.parquet"

# run: a cell of the grid; initialisation, identical: its second run; reference: noisy, teacher
Kind = Literal["run", "initialisation", "identical", "reference"]


class RunResult(BaseModel):
    """One run. ``scores`` maps a metric to the score of each utterance (None: not measured).

    ``key`` identifies all that decides the weights, ``score_key`` what they are scored on. A run
    that failed has an ``error`` and no scores.
    """

    # A pair without noise has a ratio of infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Kind
    scenario: str
    method: str
    seed: int
    key: str
    score_key: str
    recipe_sha256: str = ""
    weights_sha256: str = ""
    parameters: int | None = None
    macs_per_step: int | None = None
    macs_per_second: float | None = None
    steps: int = 0
    final_loss: float | None = None
    training_seconds: float = 0.0
    scoring_seconds: float = 0.0
    utterances: tuple[str, ...] = ()
    snr_db: tuple[float, ...] = ()
    noise: tuple[str, ...] = ()
    scores: dict[str, tuple[float | None, ...]] = {}
    curve_steps: tuple[int, ...] = ()
    curve_si_sdr: tuple[float, ...] = ()
    environment: dict[str, str] = {}
    error: str = ""

    def mean(self, metric: str) -> float | None:
        """Over the utterances that have a score."""
        known = [value for value in self.scores.get(metric, ()) if value is not None]
        return sum(known) / len(known) if known else None


def save_result(folder: Path, result: RunResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RESULT, (result.model_dump_json(indent=1) + "\n").encode())


def load_result(folder: Path) -> RunResult | None:
    """The result in a run's folder; None where there is none, or a damaged one (it runs again)."""
    try:
        return RunResult.model_validate_json((folder / RESULT).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


_LISTS: dict[str, pa.DataType] = {
    "utterances": pa.string(),
    "snr_db": pa.float64(),
    "noise": pa.string(),
    "curve_steps": pa.int64(),
    "curve_si_sdr": pa.float64(),
}
_SCALARS: dict[str, pa.DataType] = {
    "kind": pa.string(),
    "scenario": pa.string(),
    "method": pa.string(),
    "seed": pa.int64(),
    "error": pa.string(),
    "recipe_sha256": pa.string(),
    "weights_sha256": pa.string(),
    "key": pa.string(),
    "score_key": pa.string(),
    "parameters": pa.int64(),
    "macs_per_step": pa.int64(),
    "macs_per_second": pa.float64(),
    "steps": pa.int64(),
    "final_loss": pa.float64(),
    "training_seconds": pa.float64(),
    "scoring_seconds": pa.float64(),
}


def table_of(results: Sequence[RunResult], metrics: Sequence[str]) -> pa.Table:
    """One row per run: scalars, ``mean_METRIC``, lists per utterance, environment as JSON."""
    columns: dict[str, pa.Array] = {}
    for name, kind in _SCALARS.items():
        columns[name] = pa.array([getattr(result, name) for result in results], kind)
    for metric in metrics:
        means = [result.mean(metric) for result in results]
        columns[f"mean_{metric}"] = pa.array(means, pa.float64())
    for metric in metrics:
        scores = [result.scores.get(metric, ()) for result in results]
        columns[metric] = pa.array(scores, pa.list_(pa.float64()))
    for name, kind in _LISTS.items():
        columns[name] = pa.array([getattr(result, name) for result in results], pa.list_(kind))
    environments = [json.dumps(result.environment) for result in results]
    columns["environment"] = pa.array(environments, pa.string())
    return pa.table(columns)


def save_table(
    path: Path, results: Sequence[RunResult], metrics: Sequence[str], study: dict[str, object]
) -> None:
    """Write the Parquet file; the study's settings lie in its metadata under ``sordino``."""
    table = table_of(results, metrics)
    settings = {"study": study, "metrics": list(metrics)}
    table = table.replace_schema_metadata({"sordino": json.dumps(settings)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())


def load_table(path: Path) -> list[RunResult]:
    """The results in a Parquet file. Raises InputError for what is no table of a study."""
    try:
        table = pq.read_table(path)
        settings = json.loads((table.schema.metadata or {})[b"sordino"])
        return [_result(row, settings["metrics"]) for row in table.to_pylist()]
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not the table of a study.", hint="`sordino study` writes one."
        ) from error


def _result(row: dict[str, object], metrics: Sequence[str]) -> RunResult:
    content = {name: row[name] for name in (*_SCALARS, *_LISTS)}
    content["scores"] = {metric: row[metric] for metric in metrics if row[metric]}
    content["environment"] = json.loads(str(row["environment"]))
    return RunResult.model_validate(content)
