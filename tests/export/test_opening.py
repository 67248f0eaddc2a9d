from __future__ import annotations

from pathlib import Path

import pytest

from export.opening import open_source
from targets.errors import InputError

FACTORY = "tests.export.test_opening:student"


def student() -> object:
    """What a user's module might return by mistake: no student."""
    return object()


def test_a_run_brings_its_own_folder_and_corpus(run_folder: Path) -> None:
    source = open_source(str(run_folder), None, None)
    assert source.output == run_folder / "artefacts"
    assert source.corpus.name == "demo"
    assert "checkpoint_sha256" in source.trained.provenance


@pytest.mark.parametrize("options", [{"weights": Path("x")}, {"contract": "mcu"}])
def test_options_of_a_function_are_refused_beside_a_run(
    run_folder: Path, options: dict[str, object]
) -> None:
    with pytest.raises(InputError, match="brings its weights"):
        open_source(str(run_folder), None, None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("output", "data"), [(None, "demo"), (Path("out"), None)])
def test_a_function_needs_a_folder_and_a_corpus(output: Path | None, data: str | None) -> None:
    with pytest.raises(InputError, match="neither where") as caught:
        open_source(FACTORY, output, data)
    assert "--data" in caught.value.hint


def test_what_is_no_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_source(FACTORY, tmp_path, "demo")


def test_an_unknown_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mcuu"):
        open_source(FACTORY, tmp_path, "demo", contract="mcuu")
