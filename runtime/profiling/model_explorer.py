"""Node data for Google's Model Explorer: a profile's figures as colours of a model's graph.

The form is that of ``GraphNodeData`` in ``node_data_builder.py`` of model-explorer 0.1.x: one JSON
object per file with a name, results by node, and either thresholds or a gradient. A file without
the id of a graph applies to the one that is open, which suits models of one graph. Nodes are
called what Model Explorer calls them: operators of a .tflite by their number, of an .onnx by their
name, and where the file has neither (C), by the tensor they write, which is the same in the .tflite
that the C was generated from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from runtime.artefact import write_atomically
from runtime.profiling.operators import shares
from runtime.profiling.records import OperatorRow, ProfileReport, Reading
from targets.errors import InputError

# From the least value (stop 0) to the greatest (stop 1): pale yellow, orange, dark red.
GRADIENT: Final = (
    {"stop": 0.0, "bgColor": "#ffffe5"},
    {"stop": 0.5, "bgColor": "#fe9929"},
    {"stop": 1.0, "bgColor": "#993404"},
)
# Of a share, which means the same in every model: less than 1 %, 5 %, 20 %, and the dear ones.
THRESHOLDS: Final = (
    {"value": 0.01, "bgColor": "#ffffff"},
    {"value": 0.05, "bgColor": "#ffffd4"},
    {"value": 0.2, "bgColor": "#fed98e"},
    {"value": 1.0, "bgColor": "#cc4c02"},
)
Node = tuple[OperatorRow, float]


def write_node_data(report: ProfileReport, folder: Path) -> tuple[Path, ...]:
    """One file for every artefact and metric: MACs and bytes of its operators, and where they were
    measured their values and shares. Returns what was written.

    Raises InputError for a report without operators, and where ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", hint="Name a folder for the node data.")
    written: dict[str, dict[str, Any]] = {}
    for subject in report.subjects:
        for part in subject.readings:
            for metric, data in node_data(part):
                stem = Path(subject.artefact).stem
                told = stem if subject.format in stem else f"{stem} {subject.format}"
                name = _file_name(told, metric)
                while name in written and written[name] != data:
                    name = f"{name.removesuffix('.json')}-again.json"
                written[name] = data
    if not written:
        raise InputError(
            "The profile has no operators to show.", hint="Profile a .tflite, .onnx or C model."
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in written.items():
        paths.append(folder / name)
        write_atomically(
            paths[-1], (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
        )
    return tuple(paths)


def node_data(part: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the operators of a reading have, each metric with its node data."""
    rows = part.operators
    place = "" if part.backend == "file" else f" [{part.place}]"
    unit = next((row.unit for row in rows if row.unit), "")
    counted = (
        ("MACs", [(row, float(row.macs)) for row in rows]),
        ("bytes", [(row, float(row.bytes_moved)) for row in rows if row.bytes_moved is not None]),
        (f"{unit}{place}", [(row, row.value) for row in rows if row.value is not None]),
    )
    for metric, values in counted:
        if any(value for _, value in values):
            yield metric, _graph(metric, values, gradient=GRADIENT)
    if unit:
        pairs = zip(rows, shares(rows), strict=True)
        values = [(row, share) for row, share in pairs if share is not None]
        metric = f"share of {unit}{place}"
        if values:
            yield metric, _graph(metric, values, thresholds=THRESHOLDS)


def _graph(metric: str, values: Sequence[Node], **colours: Any) -> dict[str, Any]:
    """Rows of one node, which C may have several of, are added up."""
    results: dict[str, float] = {}
    for row, value in values:
        node = row.node or row.output
        if node:
            results[node] = results.get(node, 0.0) + value
    return {
        "name": metric,
        "results": {node: {"value": _plain(value)} for node, value in results.items()},
        **{name: list(stops) for name, stops in colours.items()},
    }


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 6)


def _file_name(artefact: str, metric: str) -> str:
    return f"{_word(artefact)}-{_word(metric)}.json"


def _word(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text.replace("µs", "us"), flags=re.ASCII).strip("-.") or "model"
