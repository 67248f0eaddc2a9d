"""Pairs are read by name, and what does not fit together is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.pairs import paired_items
from targets.errors import InputError
from tests.distill.recordings import bursts, write


def test_pairs_are_read_by_name(tmp_path: Path) -> None:
    for number in (2, 1):
        clean = bursts(number, 0.5)
        write(tmp_path / f"clean/{number}.wav", clean)
        write(tmp_path / f"noisy/{number}.wav", clean + 0.01)
    items = paired_items(tmp_path)
    assert [item.speech for item in items] == ["1", "2"]
    assert items[0].snr_db == pytest.approx(20.0, abs=1.0)
    (tmp_path / "clean/2.wav").unlink()
    with pytest.raises(InputError, match="no partner"):
        paired_items(tmp_path)
    write(tmp_path / "clean/2.wav", bursts(2, 0.4))
    with pytest.raises(InputError, match="differ in length"):
        paired_items(tmp_path)
    write(tmp_path / "clean/2.wav", bursts(2, 0.5), 8000)
    with pytest.raises(InputError, match="16 kHz mono"):
        paired_items(tmp_path)
    with pytest.raises(InputError, match="No pairs"):
        paired_items(tmp_path / "clean")
