"""Remedies: what is proposed was judged, and nothing is proposed that was not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.fit import fit_verdict
from targets.needs import Needs
from targets.remedies import advise, solutions
from targets.schema import Target
from tests.targets.made_up import FLASH, SRAM, device, interpreted, needs

NOR = {
    "name": "nor",
    "kind": "external-flash",
    "bytes": 10**7,
    "holds": ["weights"],
    "read_mb_s": 1,
}


def texts(target: Target, asked: Needs, *siblings: Needs) -> list[str]:
    return [remedy.text for remedy in advise(target, asked, siblings).remedies]


def test_nothing_is_proposed_where_it_fits_or_is_unknown() -> None:
    assert advise(device(), needs()).remedies == ()
    assert advise(device(core="cortex-m7"), needs()).remedies == ()


def test_a_format_that_was_exported_too_is_the_cheapest() -> None:
    slow = interpreted(macs_per_step=300_000)
    compiled = needs(macs_per_step=300_000, instructions=500_000)
    found = advise(device(), slow, [compiled])
    assert found.remedies[0].text == "c-int8 instead of tflite-int8"
    assert found.remedies[0].verdict == "fits"
    # A sibling that is as slow is no remedy.
    slower = needs(macs_per_step=300_000, instructions=5_000_000)
    assert "c-int8" not in texts(device(), slow, slower)[0]


def test_generated_c_is_proposed_where_the_interpreter_is_too_slow() -> None:
    found = advise(device(), interpreted(macs_per_step=200_000)).remedies
    assert found[0].text == "an export as c-int8 instead of tflite-int8"
    assert found[0].verdict == "unknown"  # its memory is
    kept = device(formats=["tflite-int8"])
    assert "c-int8" not in " ".join(texts(kept, interpreted(macs_per_step=200_000)))


def test_the_most_macs_and_the_least_clock_are_exact() -> None:
    asked = needs(instructions=1_000_000)
    fewer, faster = solutions(device(), asked)
    assert fewer.needs.macs_per_step is not None
    assert fewer.report().verdict == faster.report().verdict == "fits"
    one_more = fewer.needs.macs_per_step + 1
    more = asked.model_copy(
        update={"macs_per_step": one_more, "instructions": int(1_000_000 * one_more / 100_000)}
    )
    assert fit_verdict(device(), more).verdict != "fits"
    assert faster.target.clock_mhz is not None
    slower = device(clock_mhz=faster.target.clock_mhz - 1.0)
    assert fit_verdict(slower, asked).verdict != "fits"


def test_weights_move_to_a_memory_that_is_read_faster() -> None:
    target = device(memory=[NOR, FLASH, SRAM])
    assert texts(target, needs())[0] == "weights in flash instead of nor"
    crowded = device(memory=[NOR, {**FLASH, "bytes": 50_000}, SRAM])
    assert all("weights in flash" not in text for text in texts(crowded, needs()))


def test_memory_that_is_too_small_names_what_would_be_enough() -> None:
    flash = texts(device(memory=[{**FLASH, "bytes": 90_000}, SRAM]), needs())
    assert flash == ["at most 83,000 bytes of constants (8% fewer than 90,000)"]
    ram = texts(device(memory=[FLASH, {**SRAM, "bytes": 6_000}]), needs())
    assert ram == ["at most 4,420 bytes of states and activations instead of 5,000"]


def test_too_much_delay_needs_a_shorter_window() -> None:
    target = device(budget={"algorithmic_latency_ms": 10})
    assert texts(target, needs())[0].startswith("a contract of at most 10 ms")
    # The hop shrinks with the window; where the step no longer fits, it has to shrink too.
    both = advise(target, needs(instructions=500_000)).remedies[0]
    assert len(both.changes) == 2
    assert both.verdict == "fits"


def test_what_no_change_mends_has_no_remedy() -> None:
    assert advise(device(memory=[{**FLASH, "bytes": 10}, SRAM]), needs()).remedies == ()
    assert advise(device(), needs(operators=("GELU",))).remedies == ()


@settings(max_examples=40, deadline=None)
@given(
    macs=st.integers(1, 3_000_000),
    constants=st.integers(1, 2_000_000),
    working=st.integers(1, 300_000),
    delay=st.sampled_from([64, 256, 512, 1024]),
    limit=st.sampled_from([None, 4.0, 10.0, 40.0]),
    read=st.sampled_from([None, 1.0, 122.0]),
    compiled=st.booleans(),
)
def test_every_remedy_was_judged(
    macs: int,
    constants: int,
    working: int,
    delay: int,
    limit: float | None,
    read: float | None,
    compiled: bool,
) -> None:
    nor = NOR if read is None else {**NOR, "read_mb_s": read}
    budget = {} if limit is None else {"algorithmic_latency_ms": limit, "total_latency_ms": limit}
    target = device(memory=[FLASH, SRAM] if read is None else [nor, FLASH, SRAM], budget=budget)
    sizes = {"macs_per_step": macs, "constant_bytes": constants, "algorithmic_delay": delay}
    asked = (
        needs(**sizes, instructions=2 * macs, static_ram_bytes=working)
        if compiled
        else interpreted(**sizes, arena_bytes=working)
    )
    before = fit_verdict(target, asked)
    found = solutions(target, asked)
    assert not found or before.failing()
    for solution in found:
        after = fit_verdict(solution.target, solution.needs)
        assert not after.failing()
        assert solution.changes
    remedies = advise(target, asked).remedies
    assert [r.verdict for r in remedies] == [s.report().verdict for s in found[: len(remedies)]]


@pytest.mark.parametrize("class_", ["phone", "board"])
def test_a_measured_step_scales_with_its_work(class_: str) -> None:
    target = device(**{"class": class_})
    first = advise(target, needs(p99_us=25_600.0)).remedies[0]
    assert first.text == "at most 50,000 MACs a step instead of 100,000, each taking as long"
