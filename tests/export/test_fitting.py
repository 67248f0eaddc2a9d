"""The exit status of an export to a device: fits 0, does not fit 1, unknown 3."""

from __future__ import annotations

import pytest

from export.fitting import refuse_misfits
from targets.errors import GateFailed, GateUnavailable
from targets.remedies import advise
from tests.targets.made_up import FLASH, SRAM, device, needs


def test_what_fits_or_has_no_limit_passes() -> None:
    refuse_misfits([advise(device(), needs())])


def test_a_misfit_is_told_by_how_much_and_with_the_cheapest_change() -> None:
    small = device(memory=[{**FLASH, "bytes": 90_000}, SRAM])
    with pytest.raises(GateFailed, match="flash needs 97,000 bytes of 90,000") as error:
        refuse_misfits([advise(device(core="cortex-m7"), needs()), advise(small, needs())])
    assert "at most 83,000 bytes of constants" in error.value.hint
    assert error.value.exit_code == 1


def test_an_unknown_is_told_with_what_is_missing() -> None:
    with pytest.raises(GateUnavailable, match=r"real time .*cortex-m7") as error:
        refuse_misfits([advise(device(core="cortex-m7"), needs())])
    assert error.value.exit_code == 3
