"""A base that anyone may have written is a report, or is refused with one sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.profiling import loading
from runtime.profiling.loading import load_report, parse_report
from targets.errors import InputError
from tests.runtime.profiling.made_up import report

CONTENT = report().model_dump_json(indent=2, by_alias=True).encode()


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(CONTENT), **fields}).encode()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_bytes(CONTENT)
    assert load_report(path) == report()


def test_what_json_output_adds_is_no_obstacle() -> None:
    assert parse_report(changed(comparison={"lines": []}), "base.json") == report()


def test_another_schema_is_named() -> None:
    with pytest.raises(InputError, match=r"sordino-profile/9.*reads sordino-profile/1"):
        parse_report(changed(schema="sordino-profile/9"), "base.json")


def deep(levels: int) -> bytes:
    return b'{"schema":"sordino-profile/1","subjects":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"schema": 1}',
        CONTENT[: len(CONTENT) // 2],
        b"\xff\xfe" + CONTENT,
        CONTENT.replace(b"42.5", b"NaN"),
        CONTENT.replace(b"42.5", b"-Infinity"),
        CONTENT.replace(b"42.5", b"1e999"),
        CONTENT.replace(b"42.5", b"1" * 5_000),
        CONTENT.replace(b"42.5", b'"42"'.replace(b"42", b"many")),
        CONTENT.replace(b"[litert]", b"[\\u001b[2J]"),
        CONTENT.replace(b"[litert]", b"[\\ud800]"),
        CONTENT.replace(b'"measured-host"', b'"guessed"'),
        changed(surprise=1),
        changed(subjects="none"),
        deep(50),
        deep(100_000),
    ],
)
def test_anything_else_is_refused_with_one_sentence(content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_report(content, "base.json")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300
    assert caught.value.hint


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(content: bytes) -> None:
    with pytest.raises(InputError):
        parse_report(content, "base.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=10,
)


@given(st.sampled_from(sorted(json.loads(CONTENT))), JSON)
def test_no_json_crashes_it(field: str, value: Any) -> None:
    with suppress(InputError):
        parse_report(changed(**{field: value}), "base.json")


@given(st.integers(0, len(CONTENT) - 1), st.binary(max_size=3))
def test_no_damage_crashes_it(place: int, patch: bytes) -> None:
    with suppress(InputError):
        parse_report(CONTENT[:place] + patch + CONTENT[place + len(patch) :], "base.json")


def test_files_that_are_none_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LARGEST_REPORT", 100)
    large = tmp_path / "large.json"
    large.write_bytes(CONTENT)
    for path in (tmp_path, tmp_path / "none.json", large, tmp_path / "zero\0byte"):
        with pytest.raises(InputError):
            load_report(path)
