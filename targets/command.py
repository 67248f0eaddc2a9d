"""From a click command to an exit status: the one place where failures become words for a person.

Every way into the program (`sordino`, `python -m distill`, …) goes through `run`, so the same
mistake gives the same sentence and the same status everywhere:

====== ==========================================================================
status meaning
====== ==========================================================================
0      done
1      a gate ran and failed
2      bad usage, bad input, or something the system refused (disk full, no permission)
3      a gate could not run, which is not a pass
70     a defect of sordino itself
130    stopped with Ctrl-C
141    whoever read the output stopped reading
143    stopped by SIGTERM (129 by SIGHUP), tidied up as after Ctrl-C
====== ==========================================================================

``SORDINO_DEBUG=1`` shows the traceback instead of the sentence.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from targets.errors import SordinoError

HELP_OPTIONS = ["-h", "--help"]

EXIT_BAD_INPUT = 2
EXIT_DEFECT = 70  # EX_SOFTWARE of sysexits.h; 1 would read as a failed gate
EXIT_SIGNAL = 128  # plus the number of the signal, as a shell reports it
EXIT_BROKEN_PIPE = EXIT_SIGNAL + signal.SIGPIPE

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Top-level module → the extra that brings it. Whatever the runtime needs is no extra, and missing
# modules of our own are defects, so neither is listed.
EXTRAS = {
    "torch": "distill",
    "safetensors": "distill",
    "yaml": "distill",
    "scipy": "distill",
    "onnx": "export",
    "onnxscript": "export",
    "onnxsim": "export",
    "flatbuffers": "export",
    "ml_dtypes": "export",
    "tflite_micro": "export",
    "tensorflow": "tensorflow",
    "ethosu": "profile",
    "serial": "profile",
    "sounddevice": "live",
    "ziglang": "cross",
    "pesq": "metrics",
    "pystoi": "metrics",
    "clarity": "hearing-aid",
    "jinja2": "study",
    "joblib": "study",
    "matplotlib": "study",
    "pyarrow": "study",
    "distributed": "dask",
}

_SYSTEM_REFUSALS = {
    errno.ENOSPC: ("No space is left on the device", "Free some space and run the command again."),
    errno.EDQUOT: ("The disk quota is used up", "Free some space and run the command again."),
    errno.EROFS: ("The file system is read-only", "Choose another output folder."),
    errno.EACCES: ("Permission denied", "Check who owns the file or folder, or choose another."),
    errno.EPERM: ("Permission denied", "Check who owns the file or folder, or choose another."),
    errno.ENOENT: ("There is no such file or folder", "Check the spelling of the path."),
    errno.EEXIST: ("Something else is there already", "Choose another name, or move it away."),
    errno.EISDIR: ("A file was expected, but this is a folder", "Name a file."),
    errno.ENOTDIR: ("A folder was expected, but this is a file", "Name a folder."),
    errno.ENAMETOOLONG: ("The name is too long", "Choose a shorter one."),
    errno.EMFILE: ("Too many files are open", "Raise the limit with `ulimit -n`."),
}


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run ``command`` and return its exit status; failures are told on stderr, never raised.

    ``name`` is what usage lines call the program, ``arguments`` default to those of the process.
    With ``SORDINO_DEBUG`` set, a failure that is not one of usage is raised with its traceback.
    """
    received: list[int] = []
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no µ is no defect
    try:
        with _stopping_tidily(received):
            status = _invoke(command, name, sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # a full disk or a closed pipe must show here, not at interpreter exit
        return status
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("SORDINO_DEBUG"):
            raise
        # Libraries interrupted while they are imported turn a Ctrl-C into errors of their own.
        return _report_stop(received[0]) if received else _report(error)


@contextmanager
def _stopping_tidily(received: list[int]) -> Iterator[None]:
    """While a command runs, SIGTERM and SIGHUP end it as Ctrl-C does, so that it tidies up.

    The signals that came are added to ``received``. One that the caller ignores (``nohup``) or
    handles stays as it is. Only the main thread may install handlers.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    usual = {number: signal.getsignal(number) for number in STOPPING} if in_main else {}
    replaced = {
        number: handler
        for number, handler in usual.items()
        if handler in (signal.SIG_DFL, signal.default_int_handler)
    }
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _invoke(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Parse and call; ``Command.main`` is not used because it turns some errors into exits."""
    completing = "_" + name.replace("-", "_").replace(" ", "_").upper() + "_COMPLETE"
    if instruction := os.environ.get(completing):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, name, completing, instruction)
    with command.make_context(name, list(arguments), help_option_names=HELP_OPTIONS) as context:
        command.invoke(context)
    return 0


def _report(error: BaseException) -> int:
    """Say what went wrong in one sentence and what to do in another; the exit status."""
    match error:
        case SordinoError():
            return _say(error.message, error.hint, error.exit_code)
        case KeyboardInterrupt() | click.Abort() | EOFError():
            return _report_stop(signal.SIGINT)
        case ModuleNotFoundError():
            return _report_missing(error)
        case OSError():
            return _report_refusal(error)
        case MemoryError():
            return _say("The machine is out of memory.", "Use less at once.", EXIT_BAD_INPUT)
        case _:
            return _report_defect(error)


def _report_stop(number: int) -> int:
    return _say("Stopped before the end.", "", EXIT_SIGNAL + number)


def _report_missing(error: ModuleNotFoundError) -> int:
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    if extra is None:
        return _report_defect(error)
    return _say(
        f"This command needs the package {module}, which is not installed.",
        f"pip install 'sordino[{extra}]'",
        EXIT_BAD_INPUT,
    )


def _report_refusal(error: OSError) -> int:
    sentence, hint = _SYSTEM_REFUSALS.get(error.errno or 0, (error.strerror or str(error), ""))
    place = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    end = "" if sentence.endswith(".") else "."
    return _say(f"{sentence}{place}{end}", hint, EXIT_BAD_INPUT)


def _report_defect(error: BaseException) -> int:
    return _say(
        f"This is a defect of sordino: {type(error).__name__}: {error}",
        "SORDINO_DEBUG=1 before the command shows the traceback; please report it.",
        EXIT_DEFECT,
    )


def _say(message: str, hint: str, status: int) -> int:
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"{click.style('Hint:', fg='cyan')} {hint}", err=True)
    return status


def _drop_stdout() -> None:
    """Point stdout at nothing, or the interpreter complains about the closed pipe at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except OSError:  # a stdout without a descriptor has nothing left to flush to
        pass
    finally:
        os.close(null)
