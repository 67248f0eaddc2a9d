"""The ``targets`` commands."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from targets.catalog import BUILTIN, load_target
from targets.cli import targets
from targets.errors import InputError
from targets.reading import parse_profile
from tests.targets.test_catalog import OWN


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "own"
    place.mkdir()
    monkeypatch.setenv("SORDINO_TARGETS", str(place))
    monkeypatch.setenv("COLUMNS", "80")
    return place


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(targets, [str(one) for one in arguments])


def test_lists_all_in_80_columns_with_empty_cells_for_unknown() -> None:
    result = _run()
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert {line[0] for line in lines if line} >= set(BUILTIN)  # no name is cut off or folded
    assert "None" not in result.output
    assert "…" not in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_json_lists_all() -> None:
    listed = json.loads(_run("--json").output)
    assert [one["name"] for one in listed["targets"]] == list(BUILTIN)
    assert {one["origin"] for one in listed["targets"]} == {"builtin"}
    assert listed["broken"] == []


def test_own_profiles_are_listed_as_custom_and_broken_ones_with_their_reason(folder: Path) -> None:
    (folder / "my-board.toml").write_text(OWN, "utf-8")
    (folder / "torn.toml").write_text("schema =", "utf-8")
    result = _run()
    assert result.exit_code == 0
    assert "my-board" in result.output
    assert "torn.toml is broken: " in result.output
    listed = json.loads(_run("--json").output)
    assert listed["targets"][-1]["origin"] == "custom"
    assert [Path(one["file"]).name for one in listed["broken"]] == ["torn.toml"]


def test_json_of_one_names_its_sources_and_origin() -> None:
    record = json.loads(_run("show", "hearing-aid", "--json").output)
    assert record["schema"] == "sordino-target/2"
    assert record["origin"] == "builtin"
    assert record["clock_mhz"] is None
    assert record["sources"][0]["url"].startswith("https://")


@pytest.mark.parametrize("name", BUILTIN)
def test_one_in_full_shows_every_figure_and_address(name: str) -> None:
    output = _run("show", name).output
    target = load_target(name)
    for source in target.sources:
        assert source.url in output  # in one piece, for copying
    for region in target.memory:
        assert f"memory {region.name}" in output
    for part in target.accelerators:
        assert part.name in output
    assert "None" not in output


def test_unknown_target() -> None:
    result = _run("show", "fone")
    assert isinstance(result.exception, InputError)
    assert "phone" in result.exception.hint


def test_check_names_every_problem_and_remark(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(OWN, "utf-8")
    bad.write_text(OWN.replace("65536", "-1").replace("My board", ""), "utf-8")
    result = _run("check", good)
    assert result.exit_code == 0
    assert "good.toml: valid" in result.output
    assert "remark: memory: no region holds weights" in result.output
    assert "remark: sources[0].url: " in result.output
    result = _run("check", good, bad, tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "bad.toml: 2 problems" in result.output
    assert "  memory[0].bytes: " in result.output
    assert "  title: is empty." in result.output
    assert "none.toml: 1 problem\n" in result.output
    report = json.loads(_run("check", bad, "--json").output)["files"][0]
    assert not report["valid"]
    assert [problem["field"] for problem in report["problems"]] == ["title", "memory[0].bytes"]


def test_check_refuses_builtin_names_and_misnamed_files_of_the_folder(folder: Path) -> None:
    stolen = folder.parent / "stolen.toml"
    stolen.write_text(OWN.replace("my-board", "phone"), "utf-8")
    assert "'phone' is a built-in target" in _run("check", stolen).output
    other = folder / "other.toml"
    other.write_text(OWN, "utf-8")
    result = _run("check", other)
    assert result.exit_code == 2
    assert "the file names the target" in result.output


@pytest.mark.parametrize("base", ["cortex-m4", "corstone-300", "hearing-aid", "gap9"])
def test_a_template_passes_once_it_is_filled_in(tmp_path: Path, base: str) -> None:
    path = tmp_path / "my-board.toml"
    assert _run("new", "my-board", "--from", base, "-o", path).exit_code == 0
    result = _run("check", path)
    assert result.exit_code == 2  # nobody's figures become another device's by copying
    assert "  title: is empty." in result.output
    assert "  sources[0].title: is empty." in result.output
    path.write_text(path.read_text("utf-8").replace('title = ""', 'title = "mine"'), "utf-8")
    assert _run("check", path).exit_code == 0
    made, model = parse_profile(path.read_text("utf-8"), "made"), load_target(base)
    assert (made.core, made.memory, made.budget) == (model.core, model.memory, model.budget)
    assert made.energy is None


def test_an_empty_template_passes_once_it_is_filled_in(folder: Path) -> None:
    assert _run("new", "my-board").exit_code == 0
    path = folder / "my-board.toml"
    text = path.read_text("utf-8")
    assert {line.split(":")[0] for line in _run("check", path).output.splitlines()[1:]} == {
        "  class",
        "  title",
        "  formats",
    }
    text = text.replace('class = ""', 'class = "board"').replace('title = ""', 'title = "mine"')
    path.write_text(text.replace("formats = []", 'formats = ["c-int8"]'), "utf-8")
    assert _run("check", path).exit_code == 0
    assert load_target("my-board").title == "mine"


def test_the_examples_of_a_template_are_fields_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    _run("new", "t", "-o", path)
    kept, _, examples = path.read_text("utf-8").partition("# More that a profile may say")
    shown = [line[2:] for line in examples.splitlines() if line[2:3] == "[" or " = " in line]
    top = [line for line in shown if line.startswith(("core", "clock_mhz = 64"))]
    rest = [line for line in shown if line not in top]
    filled = kept.replace('class = ""', 'class = "board"').replace('title = ""', 'title = "t"')
    filled = filled.replace("formats = []", 'formats = ["c-int8"]')
    path.write_text("\n".join([filled, *top, *rest]), "utf-8")
    output = _run("check", path).output
    problems = [line for line in output.splitlines()[1:] if "no source supports it" not in line]
    assert not [line for line in problems if "remark" not in line], output


def test_new_refuses_to_overwrite_and_bad_names(tmp_path: Path) -> None:
    path = tmp_path / "there.toml"
    path.write_text("mine", "utf-8")
    refused = [
        _run("new", "there", "-o", path),
        _run("new", "My Board", "-o", tmp_path / "a.toml"),
        _run("new", "phone", "-o", tmp_path / "b.toml"),
        _run("new", "c", "--from", "c-int8", "-o", tmp_path / "c.toml"),
    ]
    assert all(isinstance(result.exception, InputError) for result in refused)
    assert path.read_text("utf-8") == "mine"
    assert [entry.name for entry in tmp_path.glob("*.toml")] == ["there.toml"]


def test_new_leaves_nothing_half_written(tmp_path: Path) -> None:
    missing = _run("new", "mine", "-o", tmp_path / "gone" / "a.toml")
    assert isinstance(missing.exception, InputError)
    assert "gone does not exist" in missing.exception.message
    refused = _run("new", "mine", "-o", "/dev/full")
    assert isinstance(refused.exception, InputError)


def test_without_a_home_the_builtin_targets_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    for name in ("SORDINO_TARGETS", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert _run().exit_code == 0
    refused = _run("new", "mine")
    assert isinstance(refused.exception, InputError)
    assert "No home folder" in refused.exception.message


def test_check_says_what_is_no_file_of_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    output = _run("check", tmp_path, tmp_path / "binary.toml", tmp_path / "gone.toml").output
    for said in (f"{tmp_path} is a folder", "is not a text file", "There is no target file"):
        assert said in output


def test_json_belongs_behind_the_subcommand() -> None:
    assert _run("--json", "show", "phone").exit_code == 2
