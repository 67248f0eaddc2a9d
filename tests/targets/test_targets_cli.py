"""The ``targets`` command."""

import json

from click.testing import CliRunner

from targets.catalog import BUILTIN
from targets.cli import targets
from targets.errors import InputError


def test_lists_all_with_empty_cells_for_unknown() -> None:
    result = CliRunner().invoke(targets, [])
    assert result.exit_code == 0
    assert "cortex-m55" in result.output
    assert "None" not in result.output


def test_json_of_one_names_its_sources_and_origin() -> None:
    result = CliRunner().invoke(targets, ["hearing-aid", "--json"])
    record = json.loads(result.output)
    assert record["schema"] == "sordino-target/2"
    assert record["origin"] == "builtin"
    assert record["clock_mhz"] is None
    assert record["sources"][0]["url"].startswith("https://")
    listed = json.loads(CliRunner().invoke(targets, ["--json"]).output)
    assert [one["name"] for one in listed] == list(BUILTIN)


def test_one_in_full_shows_sources() -> None:
    result = CliRunner().invoke(targets, ["cortex-m4"])
    assert "Zephyr" in result.output


def test_unknown_target() -> None:
    result = CliRunner().invoke(targets, ["fone"])
    assert isinstance(result.exception, InputError)
    assert "phone" in result.exception.hint
