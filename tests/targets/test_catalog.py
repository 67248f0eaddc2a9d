"""Profiles: they load, each figure has a source, origin cannot be forged, bad files are refused."""

import os
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.catalog import BUILTIN, list_targets, load_target, origin_of
from targets.errors import InputError
from targets.reading import InvalidProfileError, parse_profile
from targets.schema import Target
from targets.writing import profile_text

OWN = """
schema = "sordino-target/2"
name = "my-board"
kind = "device"
class = "microcontroller"
title = "My board"
formats = ["tflite-int8"]
core = "cortex-m4"
[[memory]]
name = "sram"
kind = "sram"
bytes = 65536
holds = ["data"]
[[sources]]
supports = ["core", "memory.sram"]
title = "its datasheet"
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return str(path)


def _problems(text: str) -> dict[str, str]:
    with pytest.raises(InvalidProfileError) as caught:
        parse_profile(text, "own.toml")
    return {problem.field: problem.wrong for problem in caught.value.problems}


def test_every_shipped_file_is_in_the_table_and_loads() -> None:
    folder = resources.files("targets") / "profiles"
    assert {f"{name}.toml" for name in BUILTIN} == {entry.name for entry in folder.iterdir()}
    assert [target.name for target in list_targets()] == list(BUILTIN)
    devices = [target for target in list_targets() if target.kind == "device"]
    assert len(devices) >= 20
    assert {"hearing-aid", "cortex-m4", "cortex-m55", "raspberry-pi", "phone"} <= set(BUILTIN)


def test_devices_take_formats_that_exist() -> None:
    formats = {target.name for target in list_targets() if target.kind == "format"}
    for target in list_targets():
        assert set(target.formats) <= formats


@pytest.mark.parametrize("name", BUILTIN)
def test_every_figure_of_a_shipped_profile_has_a_source_with_an_address(name: str) -> None:
    target = load_target(name)
    sourced = {figure for one in target.sources if one.url for figure in one.supports}
    assert set(target.stated()) <= sourced
    assert all(source.note for source in target.sources)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_profile_survives_being_written(name: str) -> None:
    target = load_target(name)
    assert parse_profile(profile_text(target), "again.toml") == target


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        load_target("cortexm4")
    assert "cortexm4" in caught.value.message
    assert "'cortex-m4'" in caught.value.hint


def test_own_file_is_custom(tmp_path: Path) -> None:
    target = load_target(_file(tmp_path, OWN))
    assert target.ram_bytes == 65536
    assert origin_of(target) == "custom"


@pytest.mark.parametrize("forgery", ['origin = "builtin"', "builtin = true"])
def test_a_file_cannot_claim_origin(tmp_path: Path, forgery: str) -> None:
    with pytest.raises(InputError, match="not a valid target"):
        load_target(_file(tmp_path, forgery + OWN))


def test_a_file_cannot_take_a_builtin_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="built-in"):
        load_target(_file(tmp_path, OWN.replace("my-board", "cortex-m4")))


def test_a_changed_copy_of_a_builtin_is_custom() -> None:
    original = load_target("cortex-m4")
    assert origin_of(original) == "builtin"
    assert origin_of(original.model_copy(update={"clock_mhz": 1000.0})) == "custom"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"memory.sram"]', '"memory.flash"]', "memory.sram"),  # a figure without source
        ('"memory.sram"]', '"memory.sram", "energy"]', "sources[0].supports"),
        ("bytes = 65536", "bytes = -1", "memory[0].bytes"),
        ("bytes = 65536", 'bytes = "65536"', "memory[0].bytes"),
        ("bytes = 65536", "bytes = true", "memory[0].bytes"),
        ("bytes = 65536", "read_mb_s = inf", "memory[0].read_mb_s"),
        ("bytes = 65536", "read_mb_s = 2024-01-01", "memory[0].read_mb_s"),
        ("bytes = 65536", "size = 65536", "memory[0].size"),
        ('name = "my-board"', 'name = "../my-board"', "name"),
        ("my-board", "my board", "name"),
        ('"My board"', '"\\u001b[31mMy board"', "title"),
        ('"My board"', '""', "title"),
        ('"its datasheet"', '"its datasheet"\nurl = "ftp://x"', "sources[0].url"),
        ("[[memory]]", "[[memory", "profile"),
        ('kind = "device"', 'kind = "format"', "formats"),
        ('class = "microcontroller"', "", "class"),
        ('["tflite-int8"]', '["tflite-int8", "tflite-int8"]', "formats"),
        ("core =", 'operators = ["ADD"]\ncore =', "operators"),
        ("bytes = 65536", "bytes = " + "9" * 5000, "profile"),
        ("bytes = 65536", "bytes = 1" + "0" * 400, "memory[0].bytes"),
    ],
)
def test_bad_fields_are_named(old: str, new: str, field: str) -> None:
    assert old in OWN
    assert field in _problems(OWN.replace(old, new))


def test_all_problems_are_told_at_once() -> None:
    bad = OWN.replace("65536", "-1").replace('"sram"', '"SRAM"').replace("title = ", "titel = ")
    problems = _problems(bad)
    assert {"memory[0].bytes", "memory[0].name", "title", "titel"} <= set(problems)
    assert "did you mean 'title'" in problems["titel"]
    cross = OWN.replace('"core", "memory.sram"', '"clock_mhz"').replace("class", "# class")
    assert set(_problems(cross)) == {"class", "core", "memory.sram", "sources[0].supports"}


def test_an_older_schema_is_refused_with_what_changed() -> None:
    problems = _problems(OWN.replace("sordino-target/2", "sordino-target/1"))
    assert list(problems) == ["schema"]
    assert "[figures] became [[memory]]" in problems["schema"]
    assert "reads sordino-target/2" in _problems(OWN.replace("target/2", "target/9"))["schema"]


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_target(str(tmp_path / "none.toml"))
    with pytest.raises(InputError):
        load_target(_file(tmp_path, "a = " + "[" * 100_000))
    with pytest.raises(InputError, match="too large"):
        load_target(_file(tmp_path, "#" * (1 << 20) + "\n"))
    with pytest.raises(InputError):
        load_target("zero\0byte.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError):
        load_target(str(tmp_path / "folder.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputError):  # at once, instead of waiting for a writer
        load_target(str(tmp_path / "pipe.toml"))


@given(st.binary(max_size=200))
def test_any_bytes_give_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_target(str(path))


SCALARS = st.one_of(
    st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.just([]), st.just({})
)


@given(st.dictionaries(st.sampled_from(sorted(Target.model_fields)), SCALARS, max_size=6))
def test_any_values_give_an_input_error(fields: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in fields.items())
    with pytest.raises(InputError):
        parse_profile(text, "any.toml")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return str(value)


def test_targets_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_target("phone").name = "other"  # type: ignore[misc]
    assert Target.model_config["extra"] == "forbid"
