"""Two profiles compared: what fails, what is noise, what cannot be compared."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from runtime.figures import Figure, Provenance
from runtime.profiling.compare import Comparison, Line, compare
from runtime.profiling.policy import Policy, load_policy, parse_policy
from runtime.profiling.records import ProfileReport, Reading, Subject
from runtime.profiling.tables import comparison_table
from targets.errors import GateFailed, GateUnavailable
from tests.runtime.profiling.made_up import (
    MACHINE,
    figure,
    host_reading,
    report,
    simulated_reading,
    subject,
)

MEDIAN, COUNT = "step, median [litert]", "step, median [cortex-m4]"
DEFAULT = load_policy()


def policy(metric: str = "*", **fields: Any) -> Policy:
    rule = {"metric": metric, "better": "lower", "max_regression_percent": 5.0, **fields}
    return Policy.model_validate({"schema": "sordino-policy/1", "rule": [rule], "name": "mine"})


def profiled(*figures: Figure, **known: Any) -> ProfileReport:
    """A report of one artefact with these figures beside its exact ones."""
    reading = Reading(backend="host", place="litert", figures=figures)
    return report(subject("model.c", reading), **known)


def line(compared: Comparison, metric: str) -> Line:
    (found,) = (each for each in compared.lines if each.metric == metric)
    return found


def judged(base: Figure, new: Figure, rules: Policy) -> Line:
    return line(compare(profiled(base), profiled(new), rules), base.name)


# Reports of any figures.

NAMES = st.sampled_from(("step, median [a]", "step, p99 [a]", "flash [b]", "hop", "load [a]"))
VALUES = st.floats(0, 1e9, allow_nan=False).map(lambda value: round(value, 3))
FIGURES = st.builds(
    figure,
    NAMES,
    VALUES,
    st.sampled_from(("µs", "bytes", "instructions", "")),
    st.sampled_from(Provenance),
    spread=st.none() | st.tuples(VALUES, VALUES).map(lambda pair: (min(pair), max(pair))),
)
READINGS = st.builds(
    Reading,
    backend=st.just("host"),
    place=st.just("litert"),
    figures=st.lists(FIGURES, max_size=5, unique_by=lambda each: each.name).map(tuple),
)
SUBJECTS = st.builds(
    lambda name, reading: subject(name, reading), st.sampled_from(("a", "b", "c")), READINGS
)
REPORTS = st.lists(SUBJECTS, min_size=1, max_size=3, unique_by=lambda each: each.artefact).map(
    lambda subjects: report(*subjects)
)
RULES = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(("*", "step*", "*[a]", "flash*")),
        "better": st.sampled_from(("lower", "higher")),
        "max_regression_percent": st.floats(0, 100),
        "missing": st.sampled_from(("fail", "warn", "ignore")),
    },
    optional={"unit": st.just("µs"), "class": st.sampled_from(Provenance)},
)
POLICIES = st.lists(RULES, min_size=1, max_size=4).map(
    lambda rules: Policy.model_validate({"schema": "sordino-policy/1", "rule": rules})
)


@given(REPORTS, POLICIES)
def test_a_report_passes_against_itself(made: ProfileReport, rules: Policy) -> None:
    compared = compare(made, made, rules)
    assert {each.verdict for each in compared.lines} <= {"same", "not judged"}
    assert all(files.same for files in compared.files)


@given(REPORTS, REPORTS, POLICIES)
def test_the_order_in_reports_does_not_matter(
    base: ProfileReport, new: ProfileReport, rules: Policy
) -> None:
    turned = new.model_copy(
        update={
            "subjects": tuple(
                each.model_copy(update={"figures": each.figures[::-1]})
                for each in reversed(new.subjects)
            )
        }
    )

    def known(compared: Comparison) -> set[str]:
        return {each.model_dump_json() for each in compared.lines}

    assert known(compare(base, new, rules)) == known(compare(base, turned, rules))


@given(
    base=st.floats(1e-3, 1e9),
    percent=st.floats(0, 50),
    beyond=st.floats(1e-3, 10),
    better=st.sampled_from(("lower", "higher")),
)
def test_what_is_worse_than_the_limit_fails_and_what_is_within_does_not(
    base: float, percent: float, beyond: float, better: str
) -> None:
    rules = policy("x", max_regression_percent=percent, better=better)
    sign = 1.0 if better == "lower" else -1.0
    worse = base * (1 + sign * (percent + beyond) / 100)
    kept = base * (1 + sign * percent / 200)
    assert judged(figure("x", base), figure("x", worse), rules).verdict == "regression"
    assert judged(figure("x", base), figure("x", kept), rules).effect == "pass"
    assert judged(figure("x", worse), figure("x", base), rules).verdict == "better"


# The policy built in.


def test_a_planted_regression_is_caught() -> None:
    """One instruction more on a simulated core, one byte more in flash."""
    base = report(subject("model.c", host_reading(), simulated_reading()))
    slower = report(subject("model.c", host_reading(), simulated_reading(843_212)))
    larger = report(subject("model.c", host_reading(), simulated_reading(), constants=138_001))
    for worse, metric in ((slower, COUNT), (larger, "constants")):
        compared = compare(base, worse, DEFAULT)
        assert [each.metric for each in compared.failed] == [metric]
        with pytest.raises(GateFailed, match=r"model\.c") as caught:
            compared.raise_verdict()
        assert caught.value.exit_code == 1
        compare(worse, base, DEFAULT).raise_verdict()


def test_a_slower_host_fails_beyond_a_tenth() -> None:
    base = report(subject("a", host_reading(40.0, (39.0, 41.0))))
    for median, spread, verdict in (
        (43.9, (43.0, 44.5), "tolerated"),
        (45.0, (44.0, 46.0), "regression"),
        (45.0, (40.5, 55.0), "noise"),
        (45.0, None, "regression"),
        (36.0, (35.0, 37.0), "better"),
    ):
        compared = compare(base, report(subject("a", host_reading(median, spread))), DEFAULT)
        found = line(compared, MEDIAN)
        assert found.verdict == verdict, (median, spread)
        assert ("medians" in found.reason) == (verdict == "noise")


def test_a_slower_run_of_the_same_file_is_put_down_to_the_machine() -> None:
    base = report(subject("a", host_reading(40.0, None)))
    for sha256, hint in (("ab" * 32, "busier"), ("cd" * 32, "new base")):
        slower = report(subject("a", host_reading(80.0, None), sha256=sha256))
        with pytest.raises(GateFailed) as caught:
            compare(base, slower, DEFAULT).raise_verdict()
        assert hint in caught.value.hint


def test_noise_is_no_excuse_for_what_is_counted() -> None:
    base = figure("x", 10.0, "instructions", Provenance.SIMULATED, spread=(1.0, 99.0))
    worse = base.model_copy(update={"value": 11.0})
    assert judged(base, worse, policy("x")).verdict == "regression"


# What cannot be compared.


def changed(**fields: Any) -> tuple[Figure, Figure]:
    base = figure("x", 10.0, "µs", Provenance.MEASURED_HOST, tool="litert 2.1.2")
    return base, base.model_copy(update=fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"unit": "ms"}, "µs and ms"),
        ({"provenance": Provenance.MODELLED}, "measured-host and modelled"),
        ({"tool": "litert 3.0.0"}, "litert 2.1.2 and by litert 3.0.0"),
        ({"tool": "onnxruntime 2.1.2"}, "by onnxruntime"),
    ],
)
def test_unlike_figures_are_not_compared(fields: dict[str, Any], said: str) -> None:
    base, new = changed(**fields)
    found = judged(base, new, policy("x"))
    assert (found.verdict, found.effect) == ("not comparable", "fail")
    assert said in found.reason
    assert judged(base, new, policy("x", missing="warn")).effect == "warn"
    assert judged(base, new, policy("x", missing="ignore")).effect == "none"


def test_minor_versions_and_dates_of_tools_do_not_matter() -> None:
    base, new = changed(tool="litert 2.9.0.dev1")
    assert judged(base, new, policy("x")).verdict == "same"
    gcc = "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205"
    base = base.model_copy(update={"tool": gcc})
    for tool, verdict in (
        (gcc.replace("12.2.1 20221205", "12.3.1 20230626"), "same"),
        (gcc.replace("12.2.1", "13.2.1"), "not comparable"),
    ):
        new = base.model_copy(update={"tool": tool})
        assert judged(base, new, policy("x")).verdict == verdict


def test_timings_of_another_machine_are_not_compared_but_counts_are() -> None:
    other = MACHINE.model_copy(update={"processor": "a faster one"})
    base = report(subject("a", host_reading(), simulated_reading()))
    new = report(subject("a", host_reading(), simulated_reading()), machine=other)
    compared = compare(base, new, DEFAULT)
    assert line(compared, MEDIAN).verdict == "not comparable"
    assert "a faster one" in line(compared, MEDIAN).reason
    assert line(compared, COUNT).verdict == "same"
    kernel = MACHINE.model_copy(update={"system": "Linux 7"})
    updated = report(subject("a", host_reading(), simulated_reading()), machine=kernel)
    assert line(compare(base, updated, DEFAULT), MEDIAN).verdict == "same"


def test_simulated_counts_under_other_conditions_are_not_compared() -> None:
    base = figure("x", 10.0, "", Provenance.SIMULATED, conditions="over 100 frames, QEMU 7.2.1")
    fewer = base.model_copy(update={"conditions": "over 10 frames, QEMU 7.2.1"})
    newer = base.model_copy(update={"conditions": "over 100 frames, QEMU 7.2.2"})
    assert judged(base, fewer, policy("x")).verdict == "not comparable"
    assert judged(base, newer, policy("x")).verdict == "same"


def test_nothing_comparable_at_all_is_no_pass() -> None:
    base, new = report(subject("a", host_reading())), report(subject("b", host_reading()))
    compared = compare(base, new, policy(missing="ignore"))
    with pytest.raises(GateUnavailable) as caught:
        compared.raise_verdict()
    assert caught.value.exit_code == 3


# What is missing.


@pytest.mark.parametrize(
    ("missing", "effect"), [("fail", "fail"), ("warn", "warn"), ("ignore", "none")]
)
def test_a_missing_figure_does_what_its_rule_says(missing: str, effect: str) -> None:
    base = report(subject("a", host_reading(), simulated_reading()))
    new = report(subject("a", host_reading()))
    compared = compare(base, new, policy(missing=missing))
    found = line(compared, COUNT)
    assert (found.verdict, found.effect, found.new) == ("missing", effect, None)
    if missing == "fail":
        with pytest.raises(GateFailed, match="missing"):
            compared.raise_verdict()
    else:
        compared.raise_verdict()


def test_a_missing_artefact_is_told() -> None:
    base = report(subject("a", host_reading()), subject("b", host_reading()))
    compared = compare(base, report(subject("a", host_reading())), policy())
    assert {each.artefact for each in compared.failed} == {"b"}
    assert "artefact" in compared.failed[0].reason
    assert [files.new_sha256 is None for files in compared.files] == [False, True]


def test_the_report_says_why_itself() -> None:
    base = profiled(figure("cycles [cortex-m4]", 5.0))
    new = report(subject("model.c", simulated_reading()))
    found = line(compare(base, new, policy("cycles*")), "cycles [cortex-m4]")
    assert found.reason == "QEMU counts no cycles."


def test_a_figure_named_in_full_has_to_be_somewhere() -> None:
    base = report(subject("a", host_reading()))
    for metric, effects in (("step, median [tflm]", ["fail"]), ("step, median [tflm*", [])):
        compared = compare(base, base, policy(metric))
        idle = [each.effect for each in compared.lines if each.verdict == "missing"]
        assert idle == effects


def test_new_figures_and_artefacts_are_shown_and_not_judged() -> None:
    base = report(subject("a", host_reading()))
    new = report(subject("a", host_reading(), simulated_reading()), subject("b"))
    compared = compare(base, new, policy())
    assert {each.verdict for each in compared.lines if each.base is None} == {"new"}
    compared.raise_verdict()


def test_models_of_one_name_are_told_apart_by_format_and_place() -> None:
    def models(*values: float) -> tuple[Subject, ...]:
        made = [
            subject("model.c", Reading(backend="h", place="p", figures=(figure("x", value),)))
            for value in values
        ]
        return made[0], made[1], made[2].model_copy(update={"format": "c-fp32"})

    first, second, third = models(1.0, 2.0, 3.0)
    compared = compare(report(first, second, third), report(third, first, second), policy("x"))
    assert {each.verdict for each in compared.lines if each.metric == "x"} == {"same"}


# What is shown.


def printed(compared: Comparison) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(comparison_table(compared))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_change_limit_verdict_and_files() -> None:
    base = report(subject("model.c", host_reading(), simulated_reading()))
    new = report(subject("model.c", host_reading(), simulated_reading(900_000), sha256="cd" * 32))
    text = printed(compare(base, new, DEFAULT))
    assert max(map(len, text.splitlines())) <= 80
    for part in ("843,211", "900,000", "+6.73 %", "+0 %", "regression", "another file", "built in"):
        assert part in text
    assert "step, p99" not in text  # not judged, not changed
    assert "the same file" in printed(compare(base, base, DEFAULT))


def test_a_comparison_is_json() -> None:
    made = compare(report(), report(), DEFAULT)
    again = Comparison.model_validate(json.loads(made.model_dump_json(by_alias=True)))
    assert again == made
    assert again.schema_version == "sordino-comparison/1"


def test_rules_may_differ_by_artefact() -> None:
    rules = parse_policy(
        """
        schema = "sordino-policy/1"
        [[rule]]
        metric = "x"
        subject = "loose"
        better = "lower"
        max_regression_absolute = 5
        [[rule]]
        metric = "x"
        better = "lower"
        max_regression_absolute = 0
        """,
        "two.toml",
    )

    def both(value: float) -> ProfileReport:
        reading = Reading(backend="h", place="p", figures=(figure("x", value),))
        return report(subject("loose", reading), subject("strict", reading))

    compared = compare(both(1.0), both(4.0), rules)
    assert [each.artefact for each in compared.failed] == ["strict"]
    assert compared.policy == "two.toml"
