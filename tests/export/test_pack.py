"""Writing packs: complete, the same every time, atomic, and sources that compile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import export.pack
import export.pack_golden
import runtime.profiling.arena
from export.pack import read_figures_file, write_pack
from export.pack_cli import pack as pack_command
from export.pack_golden import GoldenSignal, held_out_signal
from runtime.artefact import Artefact, StateSpec, sidecar_path
from runtime.benchmark import Arena, BenchmarkUnavailable
from runtime.engines import EngineMissing
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from runtime.pack import verify_pack
from runtime.pack_format import MANIFEST, MODEL_HEADER, MODEL_SOURCE
from runtime.stft import StftContract
from targets.catalog import load_target
from targets.errors import InputError
from tests.runtime.packs import CONTRACT, files_of, noise
from tests.runtime.tiny_models import write_artefact


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    folder = tmp_path / "artefacts"
    folder.mkdir()
    return write_artefact(folder, "tflite-int8", contract=CONTRACT)


@pytest.fixture(autouse=True)
def _fixed_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    """One measurement is enough for all tests but the one that undoes this."""
    fixed = Arena(total_bytes=5000, head_bytes=4000, tail_bytes=1000)
    monkeypatch.setattr(runtime.profiling.arena, "measure_arena", lambda artefact: fixed)


def _altered(artefact: Artefact, **changes: object) -> Artefact:
    """The same model under a sidecar with other contents."""
    sidecar = artefact.sidecar.model_copy(update=changes)
    sidecar_path(artefact.path).write_text(sidecar.model_dump_json(by_alias=True))
    return Artefact(path=artefact.path, sidecar=sidecar)


def test_everything_a_firmware_team_needs_is_there(artefact: Artefact, tmp_path: Path) -> None:
    summary = write_pack(artefact, tmp_path / "pack", signal=noise())
    files = files_of(tmp_path / "pack")
    model = f"model/{artefact.path.name}"
    expected = {
        model, f"model/{sidecar_path(artefact.path).name}", MODEL_SOURCE, MODEL_HEADER,
        "c/op_resolver.inc", "contract.json", "figures.json", "golden/golden.json",
        "golden/signal.npy", "golden/features_real.npy", "golden/features.npy",
        "golden/mask.npy", "golden/state_memory.npy", "fit/cortex-m4.json",
        "fit/hearing-aid.json", "licences.json", "LICENSE", "README.md", MANIFEST,
    }  # fmt: skip
    assert expected <= set(files)
    assert {entry.path for entry in summary.manifest.files} | {MANIFEST} == set(files)
    assert summary.arena_bytes == 7056  # 5000 + 2048, up to a multiple of 16
    assert b"#define SORDINO_ARENA_BYTES 7056u" in files[MODEL_HEADER]
    states = np.load(tmp_path / "pack" / "golden" / "state_memory.npy")
    assert states.shape == (101, *artefact.sidecar.inputs[1].shape)
    assert states.dtype == np.int8
    assert np.all(states[0] == artefact.sidecar.inputs[1].zero_point)
    readme = files["README.md"].decode()
    assert "$" not in readme
    assert "`memory_out` to `memory_in`" in readme


def test_golden_states_follow_from_the_features(artefact: Artefact, tmp_path: Path) -> None:
    """The tiny model remembers the last frame, so its state must be the last features."""
    write_pack(artefact, tmp_path / "pack", signal=noise())
    features = np.load(tmp_path / "pack" / "golden" / "features.npy").astype(int)
    states = np.load(tmp_path / "pack" / "golden" / "state_memory.npy").astype(int)
    assert np.max(np.abs(states[1:] - features)) <= 1


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_the_same_inputs_give_the_same_bytes(artefact: Artefact, tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        write_pack(artefact, folder / name, signal=noise())
    if name.endswith(".zip"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    else:
        assert files_of(first / name) == files_of(second / name)


def test_the_arena_is_measured_in_tflm(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    pytest.importorskip("tflite_micro", reason="tflite_micro is not installed")
    summary = write_pack(artefact, tmp_path / "pack", signal=noise())
    figures = json.loads((tmp_path / "pack" / "figures.json").read_bytes())
    arena = next(figure for figure in figures if figure["name"] == ARENA_FIGURE)
    assert arena["provenance"] == "measured-host"
    assert summary.arena_bytes is not None
    assert summary.arena_bytes >= arena["value"] + 2048


def test_an_unknown_arena_is_said_and_left_out(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(artefact: Artefact) -> None:
        raise BenchmarkUnavailable("tflite-micro is missing")

    monkeypatch.setattr(runtime.profiling.arena, "measure_arena", refuse)
    summary = write_pack(artefact, tmp_path / "pack", signal=noise())
    assert summary.arena_bytes is None
    assert "#define SORDINO_ARENA_BYTES" not in (tmp_path / "pack" / MODEL_HEADER).read_text()
    ram = [line for fit in summary.fits for line in fit.lines if line.budget == "RAM"]
    assert {line.verdict for line in ram} == {"unknown"}
    verdicts = {result.name: result.verdict for result in verify_pack(tmp_path / "pack")}
    assert verdicts["pack-arena"] == "unavailable"
    assert verdicts["pack-header"] == "pass"


def test_the_c_sources_compile_and_hold_the_model(artefact: Artefact, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc on this machine")
    write_pack(artefact, tmp_path / "pack", signal=noise())
    program = tmp_path / "main.c"
    program.write_text(
        '#include "model_data.h"\n#include <stdint.h>\n#include <stdio.h>\n'
        "#define COUNT(in, out, n, zero) + (n) + 0 * ((in) + (out) + (zero))\n"
        "int main(void) {\n"
        "  if ((uintptr_t)sordino_model_data % 16u) return 1;\n"
        "  if (sizeof sordino_model_data != SORDINO_MODEL_BYTES) return 2;\n"
        "  if ((0 SORDINO_STATES(COUNT)) != (int)SORDINO_STATE_BYTES) return 3;\n"
        "  if (SORDINO_INPUT_FEATURES_SCALE != 0.03125f) return 4;\n"
        "  return fwrite(sordino_model_data, 1, SORDINO_MODEL_BYTES, stdout) == 0;\n}\n"
    )
    folder = tmp_path / "pack" / "c"
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror", f"-I{folder}"]
    for standard in ("c99", "c11"):
        sources = [str(folder / "model_data.c"), str(program)]
        command = [compiler, f"-std={standard}", *strict, *sources, "-o", str(tmp_path / "main")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        run = subprocess.run([tmp_path / "main"], check=True, capture_output=True, timeout=10)
        assert run.stdout == artefact.path.read_bytes()


def test_the_header_serves_c_plus_plus(artefact: Artefact, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ on this machine")
    write_pack(artefact, tmp_path / "pack", signal=noise())
    folder = tmp_path / "pack" / "c"
    source = tmp_path / "use.cc"
    source.write_text(
        '#include "model_data.h"\n'
        "template <int n> struct Resolver { bool AddConv2D() { return true; }\n"
        "  bool AddConcatenation() { return true; } };\n"
        "unsigned first() {\n  Resolver<SORDINO_OPERATOR_COUNT> resolver;\n"
        '#include "op_resolver.inc"\n  return sordino_model_data[0];\n}\n'
    )
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Werror", f"-I{folder}", "-c"]
    for unit in (source, folder / "model_data.c"):
        command = [compiler, "-x", "c++", *strict, str(unit), "-o", str(tmp_path / "o")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_the_onnx_of_the_same_student_comes_along(artefact: Artefact, tmp_path: Path) -> None:
    sibling = write_artefact(artefact.path.parent, "onnx-fp32", contract=CONTRACT)
    write_pack(artefact, tmp_path / "with", signal=noise())
    assert f"model/{sibling.path.name}" in files_of(tmp_path / "with")
    _altered(sibling, provenance={"checkpoint_sha256": "another"})
    write_pack(artefact, tmp_path / "without", signal=noise())
    assert f"model/{sibling.path.name}" not in files_of(tmp_path / "without")


def test_an_older_pack_is_replaced_and_nothing_else(artefact: Artefact, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    write_pack(artefact, pack, signal=noise())
    (pack / "README.md").write_text("old")
    write_pack(artefact, pack, signal=noise())
    assert (pack / "README.md").read_text() != "old"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    archive = tmp_path / "photos.zip"
    archive.write_bytes(b"photos")
    plain = tmp_path / "file"
    plain.write_text("mine")
    for existing in (precious, archive, plain):
        with pytest.raises(InputError, match="is not a pack"):
            write_pack(artefact, existing, signal=noise())
    assert (precious / "thesis.txt").read_text() == "years"
    assert archive.read_bytes() == b"photos"
    assert plain.read_text() == "mine"


@pytest.mark.parametrize("fail_at", [1, 2])
def test_a_stopped_write_keeps_the_old_pack(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    """The first rename moves the old pack aside, the second the new one in."""
    pack = tmp_path / "out" / "pack"
    pack.parent.mkdir()
    write_pack(artefact, pack, signal=noise())
    before = files_of(pack)
    calls = 0
    rename = os.rename

    def stop(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        write_pack(artefact, pack, signal=noise(120))
    assert files_of(pack) == before
    assert list(pack.parent.iterdir()) == [pack]


def test_a_failed_first_write_leaves_nothing(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        write_pack(artefact, out / "pack", signal=noise())
    assert list(out.iterdir()) == []


def test_a_destination_without_a_folder_is_refused(artefact: Artefact, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        write_pack(artefact, tmp_path / "none" / "pack", signal=noise())


def test_states_stored_differently_going_in_and_out_are_refused(
    artefact: Artefact, tmp_path: Path
) -> None:
    out = artefact.sidecar.outputs[1].model_copy(update={"scale": 0.5})
    untied = _altered(artefact, outputs=(artefact.sidecar.outputs[0], out))
    with pytest.raises(InputError, match="another scale than its sidecar"):
        write_pack(untied, tmp_path / "pack", signal=noise())


def test_sidecars_that_cannot_be_packed_are_refused(artefact: Artefact, tmp_path: Path) -> None:
    cases: list[dict[str, object]] = [
        {"operators": {}},
        {"states": (StateSpec(name="memory", input="nothing", output="memory_out"),)},
    ]
    for changes in cases:
        with pytest.raises(InputError):
            write_pack(_altered(artefact, **changes), tmp_path / "pack", signal=noise())
    assert not (tmp_path / "pack").exists()


def test_the_golden_speech_is_synthetic_by_default_and_names_its_licences() -> None:
    chosen = held_out_signal(StftContract(), None)
    assert len(chosen.samples) == 128 * 256
    assert "demo corpus, test split, synthetic" in chosen.description
    licences = chosen.description.rpartition("licences of the split: ")[2]
    assert "made by this program" in licences
    assert len(licences.split(", ")) > 1


def test_too_short_a_signal_is_refused(artefact: Artefact, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99 frames"):
        write_pack(artefact, tmp_path / "pack", signal=noise(99))


def test_without_a_reference_engine_there_are_no_golden_vectors(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.pack_golden, "reference_engine", lambda target: None)
    with pytest.raises(EngineMissing):
        write_pack(artefact, tmp_path / "pack", signal=noise())


def test_figures_from_a_profile_are_added_but_replace_nothing(
    artefact: Artefact, tmp_path: Path
) -> None:
    def figure(name: str) -> Figure:
        host = Provenance.MEASURED_HOST
        return Figure(name=name, value=1.0, unit="us", provenance=host, tool="clock")

    file = tmp_path / "profile.json"
    listed = [json.loads(figure(name).model_dump_json()) for name in ("step", "model size")]
    file.write_text(json.dumps({"figures": listed, "else": 1}))
    write_pack(artefact, tmp_path / "pack", signal=noise(), figures=read_figures_file(file))
    packed = json.loads((tmp_path / "pack" / "figures.json").read_bytes())
    values = {entry["name"]: entry["value"] for entry in packed}
    assert values["step"] == 1.0
    assert values["model size"] == artefact.sidecar.model.bytes
    file.write_text("{}")
    with pytest.raises(InputError, match="holds no figures"):
        read_figures_file(file)


def test_targets_can_be_chosen(artefact: Artefact, tmp_path: Path) -> None:
    chosen = [load_target("hearing-aid")]
    summary = write_pack(artefact, tmp_path / "pack", signal=noise(), targets=chosen)
    assert [fit.target for fit in summary.fits] == ["hearing-aid"]
    assert [p.name for p in (tmp_path / "pack" / "fit").iterdir()] == ["hearing-aid.json"]


def test_two_targets_of_one_name_are_refused(artefact: Artefact, tmp_path: Path) -> None:
    original = load_target("hearing-aid")
    twin = original.model_copy(update={"title": "another"})
    with pytest.raises(InputError, match="Two different targets"):
        write_pack(artefact, tmp_path / "pack", signal=noise(), targets=[original, twin])


def test_unknown_licences_are_said_to_be_unknown(artefact: Artefact, tmp_path: Path) -> None:
    def stated(name: str, provenance: dict[str, str]) -> str:
        write_pack(_altered(artefact, provenance=provenance), tmp_path / name, signal=noise())
        record = json.loads((tmp_path / name / "licences.json").read_bytes())
        return str(record["training_data_licences"])

    assert "unknown" in stated("without", {"export_data_licences": "CC0"})
    assert "unknown" not in stated("with", {"licence:CC0": "3 clips"})


def test_the_licence_text_is_that_of_the_project(repository: Path) -> None:
    packed = (repository / "export" / "pack_texts" / "LICENSE.in").read_bytes()
    assert packed == (repository / "LICENSE").read_bytes()


def test_the_command(artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def signal(contract: object, data: str | None) -> GoldenSignal:
        assert data is None
        return noise()

    monkeypatch.setattr(export.pack, "held_out_signal", signal)
    run = CliRunner().invoke
    arguments = [str(artefact.path), "-o", str(tmp_path / "p.zip")]
    result = run(pack_command, [*arguments, "--json", "--target", "cortex-m4"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["fits"][0]["target"] == "cortex-m4"
    assert record["manifest"]["schema"] == "sordino-pack/1"
    table = run(pack_command, arguments)
    assert table.exit_code == 0, table.output
    assert "hearing-aid" in table.output
    wrong = run(pack_command, [*arguments, "--target", "cortex-m44"])
    assert isinstance(wrong.exception, InputError)
    missing = run(pack_command, [str(tmp_path / "no.tflite"), "-o", str(tmp_path / "q")])
    assert isinstance(missing.exception, InputError)
