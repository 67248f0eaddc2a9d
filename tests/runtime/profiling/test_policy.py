"""Policies: what a rule covers, what it tolerates, and files that are none."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.figures import Provenance
from runtime.profiling.policy import (
    DEFAULT,
    LARGEST_POLICY,
    Rule,
    load_policy,
    parse_policy,
)
from targets.errors import InputError
from tests.runtime.profiling.made_up import figure

HEAD = 'schema = "sordino-policy/1"\n'
RULE = '[[rule]]\nmetric = "*"\nbetter = "lower"\nmax_regression_percent = 1\n'


def rule(metric: str = "*", **fields: Any) -> Rule:
    given = {"better": "lower", "max_regression_percent": 0.0, **fields}
    return Rule.model_validate({"metric": metric, **given})


@given(st.text("ab*?", min_size=1, max_size=8), st.text("ab*?", max_size=8))
def test_stars_and_marks_are_those_of_a_shell(pattern: str, text: str) -> None:
    covers = rule(pattern).covers("x", "y", figure(text))
    assert covers == fnmatchcase(text, pattern)


def test_brackets_of_a_name_stand_for_themselves() -> None:
    one = rule("step, median [litert]")
    assert one.covers("", "", figure("step, median [litert]"))
    assert not one.covers("", "", figure("step, median l"))
    assert one.names_one
    assert rule("step, * [cortex-m?]").covers("", "", figure("step, p99 [cortex-m4]"))


def test_a_pattern_of_many_stars_comes_to_an_end() -> None:
    assert not rule("*a" * 100).covers("", "", figure("a" * 99))
    assert not rule("*a" * 90 + "b").covers("", "", figure("a" * 5_000))


def test_a_rule_can_be_for_one_format_unit_or_class() -> None:
    size = figure("model size", 1.0, "bytes")
    assert rule(subject="*int8*").covers("student-tflite-int8.tflite", "tflite-int8", size)
    assert rule(subject="c-int8").covers("model.c", "c-int8", size)
    assert not rule(subject="c-int8").covers("model.c", "c-fp32", size)
    assert not rule(unit="µs").covers("", "", size)
    assert not rule(**{"class": "simulated"}).covers("", "", size)
    assert rule(**{"class": Provenance.EXACT}).covers("", "", size)


@pytest.mark.parametrize(
    ("fields", "base", "new", "tolerated"),
    [
        ({"max_regression_percent": 10}, 100.0, 110.0, True),
        ({"max_regression_percent": 10}, 100.0, 110.1, False),
        ({"max_regression_percent": 10}, 0.0, 0.1, False),
        ({"max_regression_percent": 10, "better": "higher"}, 100.0, 90.0, True),
        ({"max_regression_percent": 10, "better": "higher"}, 100.0, 89.9, False),
        ({"max_regression_percent": 10, "better": "higher"}, 100.0, 1e6, True),
        ({"max_regression_percent": None, "max_regression_absolute": 5}, 100.0, 105.0, True),
        ({"max_regression_percent": None, "max_regression_absolute": 5}, 100.0, 105.1, False),
        ({"max_regression_percent": 10, "max_regression_absolute": 5}, 100.0, 106.0, False),
        ({"max_regression_percent": 4, "max_regression_absolute": 5}, 100.0, 104.5, False),
        ({"max_regression_percent": 0}, 520_192.0, 520_193.0, False),
        ({"max_regression_percent": 0}, 0.1 + 0.2, 0.3, True),
        ({"max_regression_percent": 10}, -100.0, -90.0, True),
        ({"max_regression_percent": 10}, -100.0, -89.0, False),
    ],
)
def test_either_limit_counts(
    fields: dict[str, Any], base: float, new: float, tolerated: bool
) -> None:
    assert rule(**fields).tolerates(base, new) is tolerated


def test_the_first_rule_that_covers_a_figure_judges_it() -> None:
    policy = parse_policy(
        HEAD + RULE.replace('"*"', '"step*"').replace("1\n", "2\n") + RULE.replace("1\n", "3\n"),
        "p",
    )
    judge = policy.rule_for("a", "f", figure("step, p99"))
    assert judge is not None
    assert judge.max_regression_percent == 2
    other = policy.rule_for("a", "f", figure("load"))
    assert other is not None
    assert other.max_regression_percent == 3


def test_the_policy_built_in_is_one_and_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(DEFAULT, encoding="utf-8")
    assert load_policy(file).rules == load_policy().rules
    assert load_policy().name == "built in"
    assert load_policy(file).name == "mine.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "schema"),
        (HEAD, "rule"),
        (HEAD + "rule = []\n", "rule"),
        ('schema = "sordino-policy/2"\n' + RULE, "sordino-policy/1"),
        (HEAD + RULE.replace("max_regression_percent", "max_regresion"), "max_regresion"),
        (HEAD + RULE.replace("max_regression_percent = 1\n", ""), "max_regression_percent or"),
        (HEAD + RULE.replace('"lower"', '"smaller"'), "better"),
        (HEAD + RULE.replace("= 1\n", "= nan\n"), "max_regression_percent"),
        (HEAD + RULE.replace("= 1\n", "= -1\n"), "max_regression_percent"),
        (HEAD + RULE + 'class = "measured"\n', "class"),
        (HEAD + RULE + 'missing = "pass"\n', "missing"),
        ('name = "mine"\n' + HEAD + RULE, "name"),
        (HEAD + "[[rule\n", "TOML"),
        ("a = " + "[" * 5_000, "TOML"),
    ],
)
def test_what_is_no_policy_is_refused_with_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_policy(text, "mine.toml")
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "compare.md" in caught.value.hint


@given(st.text(max_size=200))
def test_no_text_crashes_it(text: str) -> None:
    with pytest.raises(InputError):
        parse_policy(text, "mine.toml")


def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    large = tmp_path / "large.toml"
    large.write_text("#" * (LARGEST_POLICY + 1))
    for path in (tmp_path, tmp_path / "none.toml", binary, large, tmp_path / "zero\0byte"):
        with pytest.raises(InputError):
            load_policy(path)
