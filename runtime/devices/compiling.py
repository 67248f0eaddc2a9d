"""Cross compilers: C to objects, objects to firmware."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.devices.children import Finished, run_tool
from runtime.devices.cores import Core
from targets.errors import GateFailed

CompilerName = Literal["gcc", "clang", "zig"]
Optimisation = Literal["-O3", "-O2", "-Os"]

COMPILE_SECONDS = 300.0
VERSION = re.compile(r"\d+\.\d+\.\d+")
# No fusing of float multiplications with additions: it would round once where the engine rounds
# twice, on the cores that can.
MODEL_FLAGS = ("-std=c99", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
BENCH_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Werror=incompatible-pointer-types",  # a model with other types than its golden vectors
)


@dataclass(frozen=True)
class CrossCompiler(ABC):
    """The compiler of a core, working in ``folder``; the model is compiled with ``optimisation``.

    Every method raises ToolMissing where a program is not installed.
    """

    folder: Path
    core: Core
    optimisation: Optimisation

    @abstractmethod
    def version(self) -> str:
        """The compiler of the model as it names itself, with its flags for the core."""

    @abstractmethod
    def link(
        self, objects: Sequence[str], script: str, target: str, symbols: Mapping[str, int]
    ) -> Finished:
        """Link objects with the libraries of the compiler, no start-up files."""

    @abstractmethod
    def _model_command(self) -> Sequence[str]:
        """How a source of the model is compiled, without the flags that all compilers get."""

    @abstractmethod
    def _bench_command(self) -> Sequence[str]:
        """How a source of the bench is compiled."""

    def compile_model(self, source: str, target: str, flags: Sequence[str]) -> str:
        """Compile a source of the model to ``target``; raises GateFailed when it is refused."""
        common = (self.optimisation, *MODEL_FLAGS)
        return self._compile([*self._model_command(), *common, *flags], source, target)

    def compile_bench(self, source: str, target: str, flags: Sequence[str]) -> str:
        """Compile a source of the bench to ``target``."""
        return self._compile([*self._bench_command(), *BENCH_FLAGS, *flags], source, target)

    def _compile(self, command: Sequence[str], source: str, target: str) -> str:
        (self.folder / target).parent.mkdir(parents=True, exist_ok=True)
        finished = self._run([*command, "-Ibench", "-Imodel", "-c", source, "-o", target])
        if finished.status:
            raise GateFailed(
                f"{source} does not compile for {self.core.title}: {first_error(finished)}",
                hint="Generated sources are C99 and need their headers beside them.",
            )
        return target

    def _run(self, command: Sequence[str]) -> Finished:
        return run_tool(command, self.folder, COMPILE_SECONDS)


def first_version(finished: Finished) -> str:
    """The last number of the form 1.2.3 in the first line that a program writes."""
    numbers = VERSION.findall(finished.output.partition("\n")[0])
    return numbers[-1] if numbers else "of unknown version"


def first_error(finished: Finished) -> str:
    """The first line in which a compiler or linker says what is wrong."""
    lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
    signs = ("error", "undefined reference")
    wrong = [line for line in lines if any(sign in line.lower() for sign in signs)]
    return (wrong or lines or ["no reason given"])[0][:300]
