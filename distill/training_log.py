"""What training tells while it runs: a plain CSV file and, where asked for, TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.artefact import write_atomically
from targets.errors import InputError

LOG = "log.csv"
COLUMNS = (
    *("step", "seconds", "learning_rate", "loss", "denoising", "alignment", "si_sdr_db"),
    *("gradient_norm", "wait_share", "validation_si_sdr_db"),
)


class TrainingLog(AbstractContextManager["TrainingLog"]):
    """Appends rows to ``folder/log.csv``; what a resumed run will repeat is cut off first.

    Raises InputError when TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, start: int, tensorboard: bool) -> None:
        path = folder / LOG
        kept = _rows_before(path, start)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(path, text.getvalue().encode())
        self._board: Any = _board(folder, start) if tensorboard else None
        self._file = path.open("a", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS, restval="", lineterminator="\n")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row; columns that ``values`` lacks stay empty."""
        self._writer.writerow({"step": step, **{k: f"{v:.6g}" for k, v in values.items()}})
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _rows_before(path: Path, start: int) -> list[dict[str, str]]:
    """Rows of an earlier sitting up to the step at which it was saved; a torn line is dropped."""
    if not path.is_file() or not start:
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row]
    return [
        {name: row.get(name) or "" for name in COLUMNS}
        for row in rows
        if (row.get("step") or "").isdigit() and int(row["step"]) <= start
    ]


def _board(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard is not installed.", hint="pip install 'sordino[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
