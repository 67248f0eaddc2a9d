"""Bad input as a person meets it: through the `sordino` command, each row a sentence and a status.

Every sentence of these tables stands in ``docs/bad-input.md``, which the tests check as well. What
needs machinery of its own is tested elsewhere:

======================================  ============================================================
an hour through the library             tests/runtime/test_long_audio.py
kill −9 during training                 tests/distill/test_training.py
Ctrl-C while a recording is written     tests/runtime/test_denoise_cli.py
a failure half-way through publishing   tests/export/test_pipeline.py
damaged packs                           tests/runtime/test_pack.py
devices that are not there              tests/runtime/devices/, tests/runtime/profiling/
a profile that is stopped               tests/runtime/test_host.py
======================================  ============================================================
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

import sordino
from tests.runtime.tiny_models import write_artefact

MODEL = Path("student-tflite-int8.tflite")
DENOISE = f"denoise noisy.wav clean.wav --model {MODEL}"
RECIPE = """
name: short
teacher:
  network: {widths: [4, 4], hidden: 6, patch: 8}
  training: {steps: 4, batch: 2}
student:
  network: {widths: [4, 4], hidden: 6, patch: 8}
  training: {steps: 4, batch: 2}
control: false
mixing: {seconds: 0.5}
evaluation: {items: 1, seconds: 1.0}
"""


class Row(NamedTuple):
    """A command line run in a folder with a recording, a model, a recipe and a corpus."""

    situation: str
    command: str
    status: int
    sentence: str
    prepare: Callable[[], object] = lambda: None


def noise(seconds: float, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(0)
    return 0.1 * generator.standard_normal((round(seconds * rate), channels))


def record(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16") -> None:
    soundfile.write("noisy.wav", samples, rate, subtype)


def record_nan() -> None:
    samples = noise(5)
    samples[70_000] = np.nan
    record(samples, subtype="FLOAT")


def record_cut_flac() -> None:
    soundfile.write("noisy.flac", noise(4), 16_000)
    whole = Path("noisy.flac").read_bytes()
    Path("noisy.flac").write_bytes(whole[: len(whole) * 5 // 8])


def flip_a_bit() -> None:
    content = bytearray(MODEL.read_bytes())
    content[len(content) // 2] ^= 1
    MODEL.write_bytes(content)


def scan_and_lose() -> None:
    scan_corpus()
    for number in (2, 5):
        Path(f"noise/{number}.wav").unlink()


def scan_corpus() -> None:
    assert sordino.main(["data", "scan", "speech", "noise", "-o", "corpus.json"]) == 0


def make_inputs() -> None:
    """A recording, a model with its sidecar, a recipe, and folders to scan."""
    record(noise(0.5))
    made = write_artefact(Path(), "tflite-int8").path
    made.rename(MODEL)
    made.with_suffix(".json").rename(MODEL.with_suffix(".json"))
    Path("my.yaml").write_text(RECIPE)
    for kind in ("speech", "noise"):
        Path(kind).mkdir()
        for number in range(8):
            burst = np.random.default_rng([number, len(kind)]).standard_normal(8_000)
            soundfile.write(f"{kind}/{number}.wav", 0.1 * burst, 16_000)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a folder, as the working folder: sentences then hold names without folders."""
    monkeypatch.chdir(tmp_path)
    make_inputs()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


AUDIO = [
    Row("no such recording", DENOISE, 2, "No file at noisy.wav.", Path("noisy.wav").unlink),
    Row("a folder", f"denoise speech clean.wav --model {MODEL}", 2,
        "speech is a folder, not a recording."),
    Row("text renamed to .wav", DENOISE, 2, "noisy.wav is not an audio file that can be read.",
        lambda: Path("noisy.wav").write_text("dear diary\n" * 100)),
    Row("a file of 0 bytes", DENOISE, 2, "noisy.wav is an empty file.",
        lambda: Path("noisy.wav").write_bytes(b"")),
    Row("a wav without samples", DENOISE, 2, "noisy.wav holds no samples.",
        lambda: record(np.zeros(0))),
    Row("NaN or infinite samples", DENOISE, 2,
        "noisy.wav holds NaN or infinite samples (first at 4.375 s).", record_nan),
    Row("a flac that was cut off", f"denoise noisy.flac clean.wav --model {MODEL}", 2,
        "noisy.flac is damaged or cut off after 2.000 s.", record_cut_flac),
    Row("output is the input", f"denoise noisy.wav noisy.wav --model {MODEL}", 2,
        "Input and output are the same file (noisy.wav)."),
    Row("output of an unknown format", f"denoise noisy.wav clean.mp3 --model {MODEL}", 2,
        "No audio format is written for the name 'clean.mp3'."),
    Row("no such output folder", f"denoise noisy.wav out/clean.wav --model {MODEL}", 2,
        "The folder out does not exist."),
    Row("one `-` only", f"denoise - clean.wav --model {MODEL}", 2,
        "A live pipe needs - for input and output alike."),
    Row("a negative limit", f"{DENOISE} --attenuation-limit -3", 2,
        "The attenuation limit must not be negative (it is -3 dB)."),
]  # fmt: skip

MODELS = [
    Row("no such model", DENOISE, 2, f"No model at {MODEL}.", MODEL.unlink),
    Row("truncated", DENOISE, 2,
        f"{MODEL} is not the file its sidecar describes (size or SHA-256 differs).",
        lambda: MODEL.write_bytes(MODEL.read_bytes()[:500])),
    Row("one bit flipped", DENOISE, 2,
        f"{MODEL} is not the file its sidecar describes (size or SHA-256 differs).", flip_a_bit),
    Row("one bit flipped, to be profiled", f"profile {MODEL}", 2,
        f"{MODEL} is not the file its sidecar describes (size or SHA-256 differs).", flip_a_bit),
    Row("one bit flipped, to be packed", f"pack {MODEL} -o out", 2,
        f"{MODEL} is not the file its sidecar describes (size or SHA-256 differs).", flip_a_bit),
    Row("no sidecar", DENOISE, 2,
        f"{MODEL} has no sidecar ({MODEL.stem}.json is missing beside it).",
        MODEL.with_suffix(".json").unlink),
    Row("another JSON beside it", DENOISE, 2, f"{MODEL.stem}.json is not a valid sordino sidecar.",
        lambda: MODEL.with_suffix(".json").write_text('{"schema": "other"}')),
    Row("unknown engine", f"{DENOISE} --engine warp", 2, "No engine is called 'warp'."),
    Row("engine of another format", f"{DENOISE} --engine onnxruntime", 2,
        "The engine onnxruntime does not run .tflite models."),
    Row("no such pack", "verify out", 2, "There is nothing at out."),
    Row("a folder that is no pack", f"pack {MODEL} -o speech", 2,
        "speech exists and is not a pack; it is left as it is."),
    Row("no such target", f"profile {MODEL} --target cortex-m5", 2, "No target 'cortex-m5'."),
    Row("no such run", "export out", 2,
        "No checkpoint in out (weights.safetensors and checkpoint.json are needed)."),
]  # fmt: skip

TRAINING = [
    Row("no such recipe", "distill dmeo -o out", 2,
        "No recipe 'dmeo': neither a file nor a built-in one."),
    Row("unknown key", "distill my.yaml -o out", 2, "my.yaml: unknown key 'studnet'.",
        lambda: Path("my.yaml").write_text("name: x\nstudnet: {}\n")),
    Row("value out of range", "distill my.yaml -o out", 2,
        "my.yaml: mixing.seconds: Input should be greater than 0.",
        lambda: Path("my.yaml").write_text("name: x\nmixing: {seconds: 0}\n")),
    Row("broken YAML", "distill my.yaml -o out", 2,
        "my.yaml is not valid YAML, line 2: expected the node content, but found '<stream end>'.",
        lambda: Path("my.yaml").write_text("name: [\n")),
    Row("not text", "distill my.yaml -o out", 2, "my.yaml is not a text file.",
        lambda: Path("my.yaml").write_bytes(b"\xff\xfe\x00")),
    Row("no such corpus", "distill my.yaml --data corpus.json -o out", 2,
        "No data at corpus.json."),
    Row("a folder that is no corpus", "distill my.yaml --data speech -o out", 2,
        "speech is not a corpus: no manifest.csv and not a manifest written by sordino."),
    Row("files that are gone", "distill my.yaml --data corpus.json -o out", 2,
        "2 of 16 recordings listed in corpus.json are gone, the first is noise/2.wav.",
        scan_and_lose),
    Row("files that are gone, for pairs", "distill my.yaml --pairs speech -o out", 2,
        "No pairs in speech."),
    Row("no speech to scan", "data scan gone noise", 2, "gone does not exist."),
    Row("no recordings to scan", "data scan empty noise", 2, "No recordings in empty.",
        Path("empty").mkdir),
    Row("a file in place of the run folder", "distill my.yaml -o noisy.wav", 2,
        "Something else is there already: noisy.wav."),
]  # fmt: skip


def write(name: str, text: str) -> Callable[[], object]:
    return lambda: Path(name).write_text(text)


JUDGING = [
    Row("misspelt method", "distill my.yaml -o out", 2,
        "my.yaml: distillation.methods.0: no method 'cosine'.",
        write("my.yaml", "name: x\ndistillation: {method: cosine}\n")),
    Row("a tap that is not there", "distill my.yaml -o out", 2,
        "The student has nothing named 'encoder.9' to tap.",
        write("my.yaml", f"{RECIPE}distillation: {{method: hint, taps: [encoder.9]}}\n")),
    Row("no such contract", "distill my.yaml -o out", 2,
        "my.yaml: contract: there is no contract 'telephone'; did you mean 'phone'? "
        "presets: phone, mcu, hearing-aid.",
        write("my.yaml", "name: x\ncontract: telephone\n")),
    Row("rooms without rooms", "distill my.yaml -o out", 2,
        "my.yaml: mixing: reverb_probability needs rir_folder or rooms.",
        write("my.yaml", "name: x\nmixing: {reverb_probability: 0.5}\n")),
    Row("no such ONNX teacher", "distill my.yaml -o out", 2, "No ONNX file at gone.onnx.",
        write("my.yaml", RECIPE.replace("teacher:", "teacher:\n  onnx: {model: gone.onnx}"))),
    Row("no such study", "study nothing", 2,
        "No study 'nothing': neither a file nor a built-in one."),
    Row("unknown key of a study", "study my.yaml", 2, "my.yaml: unknown key 'methds'.",
        write("my.yaml", "name: s\nbase: demo\nscenarios: {a: }\nmethds: {none: }\n")),
    Row("no recipe to budget", "budget nothing", 2,
        "No recipe 'nothing': neither a file nor a built-in one."),
    Row("no network to prune", "prune out --keep 0.5 -o pruned", 2,
        "No checkpoint in out (weights.safetensors and checkpoint.json are needed)."),
    Row("no pairs to evaluate on", f"evaluate {MODEL} --pairs speech", 2, "No pairs in speech."),
    Row("unknown metric", f"evaluate {MODEL} --metrics pesk", 2, "There is no metric 'pesk'."),
]  # fmt: skip

PROFILE = f"profile {MODEL}"
PROFILING = [
    Row("no such place", f"{PROFILE} --on hots", 2, "Nothing can be profiled on 'hots'."),
    Row("no such CPU", f"{PROFILE} --cpu 4000", 2, "This process may not run on CPU 4000."),
    Row("an engine elsewhere", f"{PROFILE} --on adb --engine litert", 2,
        "--engine is for this machine."),
    Row("an interpreter on a bare core", f"{PROFILE} --on simulator:cortex-m4", 2,
        f"Nothing here can be simulated: {MODEL} is not C."),
    Row("an interpreter on a board", f"{PROFILE} --on serial:/dev/ttyACM9", 2,
        f"A bench firmware runs generated C, and {MODEL} is none."),
    Row("an NPU without a target", f"{PROFILE} --on vela", 2, "No Ethos-U is named."),
    Row("a core as NPU", f"{PROFILE} --on vela:cortex-m4", 2,
        "The target cortex-m4 has no Ethos-U."),
    Row("a file to write in no folder", f"{PROFILE} -o gone/base.json", 2,
        "The folder gone does not exist."),
    Row("a folder to write into", f"{PROFILE} -o speech", 2, "speech is a folder."),
    Row("calibration without a board", f"{PROFILE} --target cortex-m4 --calibrate my.toml", 2,
        "--calibrate needs a board to measure."),
    Row("no such base", f"{PROFILE} --compare base.json", 2, "There is no profile base.json."),
    Row("a base that was cut off", f"{PROFILE} --compare base.json", 2,
        "base.json is not valid JSON, or cut off.", write("base.json", '{"schema": "sordi')),
    Row("a base of something else", f"{PROFILE} --compare corpus.json", 2,
        "corpus.json is of schema 'sordino-manifest/1', and this version reads sordino-profile/1.",
        scan_corpus),
    Row("a policy without a base", f"{PROFILE} --policy my.toml", 2, "--policy is for --compare."),
    Row("no such target file", f"{PROFILE} --target my.toml", 2,
        "There is no target file my.toml."),
    Row("a target of something else", f"{PROFILE} --target my.toml", 2,
        "my.toml is not a valid target: schema: is 'sordino-target/9', and this version reads "
        "sordino-target/2.",
        write("my.toml", 'schema = "sordino-target/9"\n')),
    Row("a target that is no text", f"{PROFILE} --target my.toml", 2, "my.toml is not a text file.",
        lambda: Path("my.toml").write_bytes(b"\xff\xfe\x00")),
    Row("a target over another", "targets new my-board -o my.yaml", 2, "my.yaml exists already."),
    Row("a bench of a .tflite", f"bench {MODEL} -o bench", 2,
        f"{MODEL} is not C: a microcontroller's bench runs no interpreter."),
    Row("no model to hear", "live --model gone.tflite", 2, "No model at gone.tflite."),
    Row("no such shipped model", "models card nothing", 2, "There is no shipped model 'nothing'."),
    Row("no latency", f"live --model {MODEL} --latency soon", 2, "'soon' is no latency."),
]  # fmt: skip

USAGE = [
    Row("unknown command", "exprot", 2, "No such command 'exprot'. Did you mean 'export'?"),
    Row("a number that is none", f"{PROFILE} --seconds nan", 2,
        "Invalid value for '--seconds': 'nan' is no finite number."),
    Row("unknown option", "export --outptu x", 2,
        "No such option '--outptu'. Did you mean '--output'?"),
]  # fmt: skip


@pytest.fixture(scope="session")
def manual(repository: Path) -> str:
    return (repository / "docs" / "bad-input.md").read_text("utf-8")


@pytest.mark.parametrize(
    "row",
    [*AUDIO, *MODELS, *TRAINING, *JUDGING, *PROFILING, *USAGE],
    ids=lambda row: row.situation.replace(" ", "-"),
)
def test_a_mistake_is_one_sentence_and_one_status(
    place: Path, capfd: pytest.CaptureFixture[str], manual: str, row: Row
) -> None:
    Path("clean.wav").write_bytes(b"an earlier result")
    row.prepare()
    before = contents(place)
    capfd.readouterr()
    assert sordino.main(shlex.split(row.command)) == row.status
    out, err = capfd.readouterr()
    assert out == ""
    assert f"Error: {row.sentence}\n" in err
    assert "Traceback" not in err
    assert row in USAGE or "\nHint: " in err
    assert contents(place) == before
    assert f"`{row.sentence}`" in manual


def test_an_unknown_key_comes_with_a_suggestion(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("my.yaml").write_text("name: x\nstudent: {training: {stesp: 5}}\n")
    assert sordino.main(["distill", "my.yaml", "-o", "out"]) == 2
    expected = (
        "Error: my.yaml: unknown key 'student.training.stesp'.\nHint: Did you mean 'steps'?\n"
    )
    assert capfd.readouterr().err == expected


# --- what looks bad and is not ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        pytest.param(noise(0.5, 8_000), 8_000, id="8-kHz"),
        pytest.param(noise(0.5, 48_000), 48_000, id="48-kHz"),
        pytest.param(noise(0.5, 48_000, 6), 48_000, id="5.1"),
        pytest.param(np.zeros((8_000, 1)), 16_000, id="silence"),
        pytest.param(np.sign(noise(0.5)), 16_000, id="clipping"),
        pytest.param(noise(0.5)[:1], 16_000, id="one-sample"),
    ],
)
def test_unusual_recordings_are_denoised(
    place: Path, capfd: pytest.CaptureFixture[str], samples: np.ndarray, rate: int
) -> None:
    record(samples, rate)
    assert sordino.main([*shlex.split(DENOISE), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    clean, clean_rate = soundfile.read("clean.wav", always_2d=True)
    assert (clean_rate, clean.shape) == (rate, samples.shape)
    assert (told["sample_rate"], told["channels"], told["frames"]) == (
        rate, samples.shape[1], samples.shape[0],
    )  # fmt: skip
    assert np.isfinite(clean).all()
    assert np.any(clean) == np.any(samples)


# --- Ctrl-C ----------------------------------------------------------------------------------


def press_ctrl_c(*_: Any, **__: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_during_training_keeps_what_is_done(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "distill.training.save_state", press_ctrl_c
        )  # at the last step of the teacher
        assert sordino.main(["distill", "my.yaml", "-o", "run", "--threads", "1"]) == 130
    err = capfd.readouterr().err
    assert err.endswith(
        "The same command, given again, goes on from the last saved step.\n"
        "Error: Stopped before the end.\n"
    )
    assert "Traceback" not in err
    assert [p.name for p in Path("run").rglob("*") if p.is_file()] == ["recipe.json", "log.csv"]
    assert sordino.main(["distill", "my.yaml", "-o", "run", "--threads", "1"]) == 0
    assert Path("run/student/weights.safetensors").is_file()


def test_ctrl_c_during_export_leaves_earlier_artefacts_alone(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sordino.main(["distill", "my.yaml", "-o", "run", "--threads", "1"]) == 0
    Path("run/artefacts").mkdir()
    Path("run/artefacts", MODEL).write_bytes(b"an earlier model")
    before = contents(place)
    monkeypatch.setattr("export.pipeline.gather", lambda corpus: None)
    monkeypatch.setattr("export.pipeline.verified_models", press_ctrl_c)
    capfd.readouterr()
    assert sordino.main(["export", "run"]) == 130
    assert capfd.readouterr().err.strip() == "Error: Stopped before the end."
    assert contents(place) == before


# --- folders that cannot be written to -------------------------------------------------------

# In a mount namespace of its own: root ignores permissions, but not a read-only file system.
# Runs every command line of argv[1]; prints status, stderr and what is left in the two folders.
CHILD = """
import contextlib, io, json, os, subprocess, sys
from pathlib import Path

def mount(folder, options):
    os.mkdir(folder)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", folder]
    if subprocess.run(command, capture_output=True).returncode:
        print("null")
        sys.exit()

mount("locked", "ro,size=4k")
mount("full", "size=4k")
import sordino
outcomes = []
for command in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = sordino.main(command.split())
    left = [str(p) for folder in ("locked", "full") for p in Path(folder).rglob("*") if p.is_file()]
    outcomes.append([status, said.getvalue(), left])
    for path in left:
        os.unlink(path)
print(json.dumps(outcomes))
"""

SCAN, TRAIN, PACK = "data scan speech noise", "distill my.yaml --threads 1", f"pack {MODEL}"
UNWRITABLE = [
    Row("read-only: denoise", f"denoise noisy.wav locked/clean.wav --model {MODEL}", 2,
        "locked/clean.wav cannot be written (read-only file system)."),
    Row("read-only: scan", f"{SCAN} -o locked/corpus.json", 2,
        "locked/corpus.json cannot be written (read-only file system)."),
    Row("read-only: distill", f"{TRAIN} -o locked/run", 2,
        "The file system is read-only: locked/run."),
    Row("read-only: pack", f"{PACK} -o locked/pack.zip", 2,
        "The file system is read-only: locked/pack.zip."),
    Row("read-only: pack folder", f"{PACK} -o locked/pack", 2,
        "The file system is read-only: locked/pack."),
    Row("read-only: export", "export run -o locked/artefacts", 2,
        "No permission to write in locked."),
    Row("full: denoise", f"denoise noisy.wav full/clean.wav --model {MODEL}", 2,
        "Writing full/clean.wav failed."),
    Row("full: scan", f"{SCAN} -o full/corpus.json", 2,
        "full/corpus.json cannot be written (no space left on device)."),
    Row("full: pack", f"{PACK} -o full/pack.zip", 2,
        "No space is left on the device: full/pack.zip."),
    Row("full: pack folder", f"{PACK} -o full/pack", 2,
        "No space is left on the device: full/pack."),
    Row("read-only: profile", f"{PROFILE} --seconds 0.1 -o locked/base.json", 2,
        "The file system is read-only: locked/base.json."),
    Row("full: profile", f"{PROFILE} --seconds 0.1 -o full/base.json", 2,
        "No space is left on the device: full/base.json."),
    Row("full: distill", f"{TRAIN} -o full/run", 2,
        "No space is left on the device: full/run/teacher/log.csv."),
]  # fmt: skip
RESUMABLE = ["full/run/recipe.json"]  # says whose run the folder is


@pytest.fixture(scope="module")
def outcomes(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str, list[str]]]:
    """What became of every row of UNWRITABLE; one process for all, because torch loads slowly."""
    folder = tmp_path_factory.mktemp("unwritable")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_inputs()
        assert sordino.main(["distill", "my.yaml", "-o", "run", "--threads", "1"]) == 0
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    commands = json.dumps([row.command for row in UNWRITABLE])
    try:
        child = subprocess.run(
            ["unshare", *as_root, "--mount", sys.executable, "-c", CHILD, commands],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if child.stderr.startswith("unshare: ") or child.stdout == "null\n":
        pytest.skip("file systems cannot be mounted here")
    assert child.returncode == 0, child.stderr
    results = json.loads(child.stdout.splitlines()[-1].replace(f"{folder}/", ""))
    return {row.situation: tuple(r) for row, r in zip(UNWRITABLE, results, strict=True)}


@pytest.mark.parametrize("row", UNWRITABLE, ids=lambda row: row.situation.replace(" ", "-"))
def test_a_folder_that_cannot_be_written_is_told_and_stays_clean(
    outcomes: dict[str, tuple[int, str, list[str]]], manual: str, row: Row
) -> None:
    status, err, left = outcomes[row.situation]
    assert status == row.status, err
    assert f"Error: {row.sentence}\n" in err
    assert "\nHint: " in err
    assert "Traceback" not in err
    assert left in ([], RESUMABLE)
    assert f"`{row.sentence}`" in manual


# --- an hour ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_hour_peaks_no_higher_than_a_minute(place: Path, repository: Path) -> None:
    peaks = []
    for minutes in (1, 60):
        with soundfile.SoundFile("noisy.wav", "w", 16_000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(noise(60.0))
        child = subprocess.Popen(
            [sys.executable, "-m", "sordino", *shlex.split(DENOISE)],
            env={**os.environ, "PYTHONPATH": str(repository)},
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        peaks.append(usage.ru_maxrss)  # KiB
    assert soundfile.info("clean.wav").frames == 3_600 * 16_000
    assert peaks[1] - peaks[0] < 8 * 1024  # the hour itself is 110 MiB on disk, 220 as float
