"""Files appear whole or not at all, whoever else writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.artefact import write_atomically


def test_two_writers_of_one_file_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, and machines that share a folder, may have the same process number."""
    path, rename, second = tmp_path / "entry", os.replace, [b"second"]

    def renamed_while_another_writes(source: Path, target: Path) -> None:
        if second:
            write_atomically(path, second.pop())
        rename(source, target)

    monkeypatch.setattr(os, "replace", renamed_while_another_writes)
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
