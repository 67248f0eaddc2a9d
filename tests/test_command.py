"""The door and the way from failures to words: what is imported, what is said, what is returned."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

import sordino
from targets import command
from targets.command import run
from targets.errors import GateFailed, GateUnavailable, InputError

HEAVY = {
    "ai_edge_litert", "distill", "export", "flatbuffers", "importlib.metadata", "numpy", "onnx",
    "onnxruntime", "pydantic", "rich", "runtime", "safetensors", "scipy", "soundfile", "soxr",
    "tensorflow", "tflite_micro", "torch", "yaml",
}  # fmt: skip


def python(
    repository: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=repository,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def raising(error: BaseException) -> click.Command:
    """A command that fails with ``error``."""

    @click.command()
    def failing() -> NoReturn:
        raise error

    return failing


# --- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["dnoise"], []])
def test_the_door_imports_nothing_heavy(repository: Path, arguments: list[str]) -> None:
    probe = (
        "import json, sys, sordino\n"
        "sordino.main(sys.argv[1:])\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = python(repository, "-c", probe, *arguments)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & HEAVY


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert sordino.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, place in sordino.COMMANDS.items():
        assert f"  {name} " in shown
        assert place.help in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert sordino.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sordino, version {sordino.__version__}\n"


@pytest.mark.parametrize("name", sorted(sordino.COMMANDS))
def test_every_listed_command_exists_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sordino.main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: sordino {name} ")


@pytest.mark.parametrize("package", ["distill", "export", "runtime", "targets"])
def test_every_package_is_a_command_of_its_own(repository: Path, package: str) -> None:
    done = python(repository, "-m", package, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: python -m {package} ")


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert sordino.main(["exprot"]) == 2
    assert "Did you mean 'export'?" in capsys.readouterr().err


def test_public_names_are_those_of_their_packages() -> None:
    from runtime.artefact import load_artefact
    from runtime.stft import StftContract

    assert sordino.load_artefact is load_artefact
    assert sordino.StftContract is StftContract
    assert set(sordino.__all__) <= set(dir(sordino))


def test_every_public_name_can_be_had() -> None:
    for name in sordino.__all__:
        assert callable(getattr(sordino, name))
    with pytest.raises(AttributeError, match="no attribute 'denoize'"):
        _ = sordino.denoize


# --- from failures to words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "sentence", "hint"),
    [
        (InputError("No file a.wav.", hint="Check it."), 2, "No file a.wav.", "Check it."),
        (GateFailed("Scales differ.", hint="See x."), 1, "Scales differ.", "See x."),
        (GateUnavailable("No TFLM here.", hint="Get it."), 3, "No TFLM here.", "Get it."),
        (OSError(errno.ENOSPC, "No space", "a.wav"), 2, "No space is left on the device: a.wav.",
         "Free some space"),
        (PermissionError(errno.EACCES, "denied", "/out"), 2, "Permission denied: /out.", "owns"),
        (OSError(errno.EROFS, "ro", "/out"), 2, "The file system is read-only: /out.", "another"),
        (FileNotFoundError(errno.ENOENT, "none", "a"), 2, "no such file or folder: a.", "spelling"),
        (OSError(errno.EIO, "Input/output error", "a"), 2, "Input/output error: a.", ""),
        (OSError("cannot load libfoo.so"), 2, "cannot load libfoo.so.", ""),
        (ModuleNotFoundError("No module", name="torch.nn"), 2, "needs the package torch",
         "pip install 'sordino[distill]'"),
        (ModuleNotFoundError("No module", name="onnx"), 2, "needs the package onnx",
         "pip install 'sordino[export]'"),
        (MemoryError(), 2, "out of memory", "less"),
        (KeyboardInterrupt(), 130, "Stopped before the end.", ""),
        (click.Abort(), 130, "Stopped before the end.", ""),
        (ValueError("negative"), 70, "defect of sordino: ValueError: negative", "SORDINO_DEBUG=1"),
        (ModuleNotFoundError("No module named 'export.x'", name="export.x"), 70, "defect", "DEBUG"),
    ],
)  # fmt: skip
def test_a_failure_is_one_sentence_one_hint_and_a_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, sentence: str, hint: str
) -> None:
    assert run(raising(error), "test", []) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    first, *rest = captured.err.splitlines()
    assert first.startswith("Error: ")
    assert sentence in first
    assert len(rest) == bool(hint)
    if hint:
        assert rest[0].startswith("Hint: ")
        assert hint in rest[0]


@pytest.mark.parametrize("error", [ValueError("negative"), InputError("bad"), KeyboardInterrupt()])
def test_debugging_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setenv("SORDINO_DEBUG", "1")
    with pytest.raises(type(error)):
        run(raising(error), "test", [])


@pytest.mark.parametrize(
    "error",
    [click.UsageError("what?"), click.BadParameter("no"), click.FileError("a", "gone")],
)
def test_usage_errors_are_bad_input_even_when_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    monkeypatch.setenv("SORDINO_DEBUG", "1")
    assert run(raising(error), "test", []) == 2
    assert "Error: " in capsys.readouterr().err


def test_a_command_that_exits_keeps_its_status() -> None:
    assert run(raising(click.exceptions.Exit(3)), "test", []) == 3
    with pytest.raises(SystemExit, match="1"):
        run(raising(SystemExit(1)), "test", [])


def test_a_misspelt_option_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @click.option("--target")
    def export(target: str | None) -> None: ...

    assert run(export, "test", ["--traget", "x"]) == 2
    assert "Did you mean '--target'?" in capsys.readouterr().err


def test_extras_are_those_of_the_distribution(repository: Path) -> None:
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert set(command.EXTRAS.values()) <= set(project["optional-dependencies"])


# --- the process itself --------------------------------------------------------------------------

SLEEPER = """
import sys, time, click
from targets.command import run
@click.command()
def sleep():
    print("ready", flush=True)
    time.sleep(30)
sys.exit(run(sleep, "sleep"))
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_with_a_sentence_and_its_status(
    repository: Path, number: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests under nohup ignores a signal that is not to be ignored here.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == status
    assert said == "Error: Stopped before the end.\n"


def test_an_error_that_a_signal_caused_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def importing() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:  # as extension modules do on the way up
            raise ImportError("cannot import name 'x'") from error

    assert run(importing, "test", []) == 130
    assert capsys.readouterr().err == "Error: Stopped before the end.\n"


def test_handlers_of_the_caller_stay() -> None:
    heard: list[int] = []

    @click.command()
    def working() -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert run(working, "test", []) == 0
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


WRITER = """
import sys, click
from targets.command import run
@click.command()
def write():
    for line in range(200_000):
        print(line)
sys.exit(run(write, "write"))
"""


def test_a_reader_that_leaves_is_no_error(repository: Path) -> None:
    script = f"{sys.executable} -c '{WRITER}' | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told(repository: Path) -> None:
    few = WRITER.replace("200_000", "3")  # few enough to stay buffered until the end
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", few],
            cwd=repository,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: No space is left on the device.\n")


def test_a_terminal_without_the_letters_shows_the_rest(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sordino", "targets", "show", "nrf54l15"],
        cwd=repository,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "20.3 ?A/MHz" in done.stdout


def test_no_traceback_for_a_bad_argument(repository: Path) -> None:
    done = python(repository, "-m", "sordino", "denoise", "/nowhere/a.wav", "b.wav")
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
