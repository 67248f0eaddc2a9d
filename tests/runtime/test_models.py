"""Shipped models as the runtime sees them, on stand-ins: names, files, cards and commands."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.artefact import load_artefact
from runtime.cli import denoise
from runtime.live_cli import live
from runtime.models import default_model, model_file, model_names, open_model
from runtime.models.copying import PARTS, Part, copy_model
from runtime.models.page import page
from runtime.models_cli import models
from runtime.profile_cli import profile
from targets.errors import InputError
from tests.runtime.fakes import invoke
from tests.runtime.stand_in import stand_in

MODEL = "tiny-tflite-int8.tflite"  # the artefact of every stand-in


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models mcu, nano and teacher; the working folder is an empty one beside them."""
    root = tmp_path / "shipped"
    for name in ("mcu", "nano", "teacher"):
        stand_in(root, name)
    monkeypatch.setattr("runtime.models.shipped.ROOT", root)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return root


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def recording(path: Path) -> Path:
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(4000), 16_000)
    return path


# --- finding -------------------------------------------------------------------------------------


def test_a_model_is_its_card_its_artefact_and_its_checkpoint(shipped: Path) -> None:
    assert model_names() == ["mcu", "nano", "teacher"]
    model = open_model("nano")
    assert model.card.name == "nano"
    assert load_artefact(model.artefact("int8")).sidecar.target == "tflite-int8"
    assert model.checkpoint() == shipped / "nano"
    assert default_model() == shipped / "mcu" / MODEL


def test_what_is_not_shipped_is_named_with_what_is(shipped: Path) -> None:
    with pytest.raises(InputError, match="no shipped model 'nan'") as caught:
        open_model("nan")
    assert "Did you mean 'nano'?" in caught.value.hint
    assert "mcu, nano, teacher" in caught.value.hint
    with pytest.raises(InputError, match="not shipped as int16x8") as caught:
        open_model("mcu").artefact("int16x8")
    assert "int8" in caught.value.hint
    with pytest.raises(InputError, match="not shipped as int8") as caught:
        open_model("teacher").artefact()
    assert "teacher: {model: teacher}" in caught.value.hint


@pytest.mark.parametrize("file", [MODEL, "tiny-tflite-int8.json", "weights.safetensors"])
def test_damage_is_noticed_where_the_file_is_used(shipped: Path, file: str) -> None:
    model = open_model("mcu")
    use = model.checkpoint if file == "weights.safetensors" else model.artefact
    use()
    damage(shipped / "mcu" / file)
    with pytest.raises(InputError, match="not what was shipped"):
        use()
    (shipped / "mcu" / file).unlink()
    with pytest.raises(InputError, match="is missing"):
        use()


@pytest.mark.parametrize("content", ["", "{", '{"schema": "sordino-model/2"}', "[]"])
def test_a_damaged_card_is_one_sentence(shipped: Path, content: str) -> None:
    (shipped / "mcu" / "card.json").write_text(content)
    with pytest.raises(InputError, match="card of the model mcu is damaged"):
        open_model("mcu")


def test_a_card_names_files_and_no_paths(shipped: Path) -> None:
    card = shipped / "mcu" / "card.json"
    card.write_text(card.read_text().replace("weights.safetensors", "../nano/card.json"))
    with pytest.raises(InputError, match="damaged"):
        open_model("mcu")


def test_a_name_stands_for_a_model_only_where_no_file_has_it(shipped: Path) -> None:
    assert model_file(Path("nano")) == shipped / "nano" / MODEL
    assert model_file(Path("gone.tflite")) == Path("gone.tflite")
    assert model_file(Path("nothing")) == Path("nothing")
    with pytest.raises(InputError, match="'nanoo'"):
        model_file(Path("nanoo"))
    Path("nano").write_bytes(b"mine")
    assert model_file(Path("nano")) == Path("nano")


# --- cards ---------------------------------------------------------------------------------------


def test_the_page_tells_what_the_card_holds(shipped: Path) -> None:
    text = page(open_model("mcu").card)
    for part in (
        "A stand-in for mcu.",
        "1.2 MMAC/s",
        "32 ms",
        "| -5 dB | int8 | 1.500 | 0.800 | 0.600 | -4.25 | 3.00 | – | 2.50 | 3 |",
        "pesq 0.0.4",
        "1,234,567 instructions | simulated | qemu 8",
        "Somebody \\| and others",
        "- It was tested on nothing.",
    ):
        assert part in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") for line in tables]
    assert all(count > 2 for count in cells)
    assert "the whole recording" in page(open_model("teacher").card)


# --- the commands --------------------------------------------------------------------------------


def test_list_shows_every_model(shipped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = invoke(capfd, models, "list")
    assert shown.status == 0
    assert all(name in shown.out for name in ("mcu", "nano", "teacher", "-4.25"))
    listed = json.loads(invoke(capfd, models, "list", "--json").out)["models"]
    assert [card["name"] for card in listed] == ["mcu", "nano", "teacher"]


def test_list_of_nothing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runtime.models.shipped.ROOT", tmp_path)
    assert invoke(capfd, models, "list").out == "No models are shipped here.\n"
    with pytest.raises(InputError, match="mcu is not shipped here"):
        default_model()


def test_card_prints_the_page_or_the_json(shipped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(capfd, models, "card", "mcu").out == (shipped / "mcu" / "CARD.md").read_text()
    printed = json.loads(invoke(capfd, models, "card", "mcu", "--json").out)
    assert printed == json.loads((shipped / "mcu" / "card.json").read_text())
    unknown = invoke(capfd, models, "card", "mcuu")
    assert (unknown.status, unknown.out) == (2, "")
    assert "Did you mean 'mcu'?" in unknown.err


def test_get_copies_what_the_other_commands_take(
    shipped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = invoke(capfd, models, "get", "mcu")
    assert said.status == 0
    assert {path.name for path in Path("mcu").iterdir()} == {
        path.name for path in (shipped / "mcu").iterdir()
    }
    for path in Path("mcu").iterdir():
        assert path.read_bytes() == (shipped / "mcu" / path.name).read_bytes()
        assert str(path) in said.out
    source = recording(Path("noisy.wav"))
    model = Path("mcu") / MODEL
    assert invoke(capfd, denoise, source, "clean.wav", "--model", model).status == 0
    assert model_file(Path("mcu")) == model  # the copy, now that there is one
    again = invoke(capfd, models, "get", "mcu", "--json")
    assert len(json.loads(again.out)["files"]) == 6


@pytest.mark.parametrize("part", PARTS)
def test_every_part_comes_with_its_card(shipped: Path, tmp_path: Path, part: Part) -> None:
    if part == "int16x8":
        with pytest.raises(InputError, match="not shipped as int16x8"):
            copy_model(open_model("mcu"), tmp_path / "out", part, force=False)
        assert not (tmp_path / "out").exists()
        return
    copy_model(open_model("mcu"), tmp_path / "out", part, force=False)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"card.json", "CARD.md"}
    assert (MODEL in names) == (part != "weights")
    assert ("checkpoint.json" in names) == (part != "int8")


def test_get_replaces_nothing_unasked(shipped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("mcu").mkdir()
    (Path("mcu") / "checkpoint.json").write_text("mine")
    (Path("mcu") / "notes.txt").write_text("mine too")
    refused = invoke(capfd, models, "get", "mcu")
    assert refused.status == 2
    assert "mcu/checkpoint.json is there already" in refused.err
    assert {path.name for path in Path("mcu").iterdir()} == {"checkpoint.json", "notes.txt"}
    assert invoke(capfd, models, "get", "mcu", "--force").status == 0
    assert (Path("mcu") / "checkpoint.json").read_bytes() != b"mine"
    assert (Path("mcu") / "notes.txt").read_text() == "mine too"


def test_get_of_a_damaged_model_writes_nothing(
    shipped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(shipped / "mcu" / MODEL)
    refused = invoke(capfd, models, "get", "mcu")
    assert refused.status == 2
    assert "is not what was shipped" in refused.err
    assert not Path("mcu").exists()


def test_denoise_without_a_model_uses_mcu_and_says_so(
    shipped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = recording(Path("noisy.wav"))
    said = invoke(capfd, denoise, source, "clean.wav")
    assert said.status == 0
    assert "Model: tiny; --model takes another." in said.err
    before, after = soundfile.read(source)[0], soundfile.read("clean.wav")[0]
    assert np.dot(before, after) / np.dot(before, before) == pytest.approx(0.5, abs=0.05)
    told = json.loads(invoke(capfd, denoise, source, "clean.wav", "--json").out)
    artefact = load_artefact(shipped / "mcu" / MODEL)
    assert told["model"] == MODEL
    assert told["model_sha256"] == artefact.sidecar.model.sha256
    named = invoke(capfd, denoise, source, "clean.wav", "--model", "nano")
    assert (named.status, named.err) == (0, "")
    assert "Did you mean 'nano'" in invoke(capfd, denoise, source, "x.wav", "--model", "nanoo").err


class _Pipe:
    """A stdin of silence, which is no terminal."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO(bytes(2 * 600))

    def isatty(self) -> bool:
        return False


def test_a_pipe_without_a_model_uses_mcu(
    shipped: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Pipe())
    said = invoke(capfd, denoise, "-", "-", "--json")
    assert said.status == 0
    assert json.loads(said.err)["model"] == MODEL


def test_live_without_a_model_uses_mcu(
    shipped: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # what comes next is another story
    assert "Model: tiny; --model takes another." in invoke(capfd, live).err
    assert "Model:" not in invoke(capfd, live, "--model", "nano").err


def test_profile_takes_names(shipped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = invoke(capfd, profile, "mcu", "--on", "vela")
    assert "No Ethos-U is named" in said.err  # the model itself was found


def test_cards_need_neither_engines_nor_torch(repository: Path) -> None:
    probe = (
        "import json, sys, sordino\n"
        "assert sordino.main(['models', 'list']) == 0\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
    assert not loaded & {"torch", "ai_edge_litert", "onnxruntime", "soundfile", "soxr", "distill"}
