"""A progress bar on stderr that shows only where a person waits."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

PATIENCE = 1.0  # seconds of work before the bar appears


class ProgressBar:
    """Appears after a second of work on a terminal, and goes away at the end."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(escape(title), total=None)
        self._wanted = sys.stderr.isatty()
        self._since = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """``done`` of ``total`` parts of the work are behind us."""
        if not self._wanted or time.monotonic() - self._since < PATIENCE:
            return
        self._progress.start()
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress.live.is_started:  # stopping one that is not writes an empty line
            self._progress.stop()
