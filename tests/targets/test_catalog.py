"""Profiles: they load, each figure has a source, origin cannot be forged, bad files are refused."""

from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.catalog import BUILTIN, list_targets, load_target, origin_of
from targets.errors import InputError
from targets.schema import Target

OWN = """
schema = "sordino-target/2"
name = "my-board"
kind = "device"
class = "microcontroller"
title = "My board"
formats = ["tflite-int8"]
[[memory]]
name = "sram"
kind = "sram"
bytes = 65536
holds = ["data"]
[[sources]]
supports = ["memory.sram"]
title = "its datasheet"
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_every_shipped_file_is_in_the_table_and_loads() -> None:
    folder = resources.files("targets") / "profiles"
    assert {f"{name}.toml" for name in BUILTIN} == {entry.name for entry in folder.iterdir()}
    assert [target.name for target in list_targets()] == list(BUILTIN)
    assert {"hearing-aid", "cortex-m4", "cortex-m55", "raspberry-pi", "phone"} <= set(BUILTIN)


def test_device_formats_exist() -> None:
    formats = {target.name for target in list_targets() if target.kind == "format"}
    for target in list_targets():
        assert set(target.formats) <= formats


def test_shipped_sources_carry_addresses() -> None:
    for target in list_targets():
        assert target.sources
        assert all(source.url for source in target.sources), target.name


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
    assert origin_of(original.model_copy(update={"clock_mhz": 1000.0})) == "custom"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('supports = ["memory.sram"]', 'supports = ["memory.flash"]'),  # figure without source
        ("bytes = 65536", "bytes = -1"),
        ("bytes = 65536", "size = 65536"),
        ("sordino-target/2", "sordino-target/3"),
        ('name = "my-board"', 'name = "../my-board"'),
        ("my-board", "my board"),
        ("[[memory]]", "[[memory"),
        ('kind = "device"', 'kind = "format"'),
    ],
)
def test_bad_files_are_refused_with_a_hint(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(InputError) as caught:
        load_target(_file(tmp_path, OWN.replace(old, new)))
    assert caught.value.hint


def test_missing_and_nested_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_target(str(tmp_path / "none.toml"))
    with pytest.raises(InputError):
        load_target(_file(tmp_path, "a = " + "[" * 100_000))


@given(st.binary(max_size=200))
def test_any_bytes_give_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_target(str(path))


def test_targets_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_target("phone").name = "other"  # type: ignore[misc]
    assert Target.model_config["extra"] == "forbid"
