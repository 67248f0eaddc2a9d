"""A first load and one step of a model in a child process, before the process itself loads it.

Checks of the file (``runtime.modelfile``) keep what is known to be harmful away from native code.
What they cannot know, a kernel that aborts on some combination of numbers or an ONNX graph whose
inner shapes swell, ends a child of this process instead of the process. The child is forked with
the engine's library already imported, which takes milliseconds where a new interpreter would take
half a second; so every model is rehearsed, whoever made its sidecar.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import re
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from runtime.engines import ENGINES, Engine, load_engine
from runtime.modelfile.refusal import HINT, ModelRefused

MEMORY: Final = 320 << 20  # bytes that loading and a step may take beside what is loaded already
CPU_SECONDS: Final = 4  # of the child, all in all
STEP_SECONDS: Final = 1.0  # of CPU; a step stands for some milliseconds of sound
LONGEST_REASON: Final = 120
NO_MEMORY: Final = re.compile("bad_alloc|bad allocation|allocate memory")  # in an engine's words
WALL_SECONDS: Final = 60.0  # on a machine that has other things to do
_passed: set[tuple[str, str]] = set()  # engine and SHA-256 of what this process has rehearsed


def rehearse(engine: str, model: bytes, sha256: str, file: str) -> None:
    """Load a checked model into ``engine`` and run a step of zeros, in a forked child.

    ``sha256`` is that of ``model``: what passed once in this process is not tried again. Where
    processes cannot fork or the engine is not installed nothing is done. Raises ModelRefused,
    beginning with ``file``.
    """
    if (engine, sha256) in _passed or not hasattr(os, "fork"):
        return
    try:
        for module in ENGINES[engine].modules:
            importlib.import_module(module)
    except ImportError:
        return
    _rehearsed_once(engine, lambda: load_engine(engine, model), sha256, file)


def rehearse_loaded(engine: Engine, sha256: str, file: str) -> None:
    """The step alone, for an engine that is loaded already: generated C, whose compiler was a
    process of its own. Raises ModelRefused."""
    if (engine.name, sha256) not in _passed and hasattr(os, "fork"):
        _rehearsed_once(engine.name, lambda: engine, sha256, file)


def _rehearsed_once(engine: str, load: Callable[[], Engine], sha256: str, file: str) -> None:
    if reason := _forked(engine, load):
        raise ModelRefused(f"{file} {reason}.", hint=HINT)
    _passed.add((engine, sha256))


def _forked(engine: str, load: Callable[[], Engine]) -> str:
    """What is wrong, empty when nothing is."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # Of forking beside threads: the child computes on one thread and takes no lock of others.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(load, receiving, sending)
    os.close(sending)
    try:
        answer = _answer(receiving)
    finally:
        os.close(receiving)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it has said all it had to say, or will never
        status = os.waitpid(child, 0)[1]
    return _verdict(engine, answer, os.waitstatus_to_exitcode(status))


def _answer(receiving: int) -> bytes | None:
    """All that the child says; None when it has not ended in time."""
    said = b""
    deadline = time.monotonic() + WALL_SECONDS
    while True:
        ready, _, _ = select.select([receiving], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(receiving, 1 << 16)
        if not part:
            return said
        said += part


def _verdict(engine: str, answer: bytes | None, status: int) -> str:
    if answer is None:
        return f"keeps the engine {engine} busy without an end"
    if not answer:
        if -status in (signal.SIGXCPU, signal.SIGKILL):
            return f"keeps the engine {engine} busy for more than {CPU_SECONDS} s"
        end = f"crash (signal {-status})" if status < 0 else "end the process"
        return f"makes the engine {engine} {end}"
    record: dict[str, Any] = json.loads(answer)
    if "refused" in record:
        return f"does not run in the engine {engine}: {record['refused']}"
    if "memory" in record:
        return f"makes the engine {engine} take more than {MEMORY >> 20} MiB of memory"
    seconds: float = record["seconds"]
    if seconds > STEP_SECONDS:
        return f"takes {seconds:.1f} s for one step in the engine {engine}"
    return ""


def _be_the_child(load: Callable[[], Engine], receiving: int, sending: int) -> NoReturn:
    """Everything the child does; it never returns into its copy of the caller."""
    try:
        os.close(receiving)
        faulthandler.disable()  # a crash is told by the parent
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        _limit()
        record = _rehearsed(load)
        os.write(sending, json.dumps(record).encode())
    finally:
        os._exit(0)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    with suppress(OSError):  # only Linux says how much address space is taken
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _rehearsed(load: Callable[[], Engine]) -> dict[str, Any]:
    try:
        loaded = load()
        seconds = _step_seconds(loaded)
        if seconds > STEP_SECONDS:  # the first step may have had something to set up
            seconds = _step_seconds(loaded)
        return {"seconds": seconds}
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # whatever an engine raises for a stranger's model
        said = error.__cause__ or error
        return {"memory": True} if NO_MEMORY.search(str(said)) else {"refused": _words(said)}


def _words(error: BaseException) -> str:
    """The beginning of what an engine says, fit to end a sentence."""
    plain = "".join(c if c.isprintable() else " " for c in str(error))
    plain = re.sub(r"^\[\w+\] : \d+ : \w+ : ", "", " ".join(plain.split()))
    return plain[:LONGEST_REASON].rstrip(".: ") or type(error).__name__


def _step_seconds(engine: Engine) -> float:
    """CPU seconds of a step of zeros."""
    inputs = [np.zeros(port.shape, port.dtype) for port in engine.inputs]
    begun = time.process_time()
    engine.run(inputs)
    return time.process_time() - begun
