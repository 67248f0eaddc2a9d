"""Cross compilers: C to objects, objects to firmware, firmware to the sizes of its sections."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.devices.children import Finished, find_tool, run_tool
from runtime.devices.cores import Core
from targets.errors import GateFailed, GateUnavailable

CompilerName = Literal["gcc", "clang"]
Optimisation = Literal["-O3", "-O2", "-Os"]

COMPILE_SECONDS = 300.0
VERSION = re.compile(r"\d+\.\d+\.\d+")
SECTION = re.compile(r"^(\.[\w.]+)\s+(\d+)\s", re.MULTILINE)
# No fusing of float multiplications with additions: it would round once where the engine rounds
# twice, on the cores that can.
MODEL_FLAGS = ("-std=c99", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
BENCH_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fno-tree-loop-distribute-patterns",  # no memset in the start-up code
    "-Werror=incompatible-pointer-types",  # a model with other types than its golden vectors
)


@dataclass(frozen=True)
class CrossCompiler:
    """The compiler of a core, working in ``folder``.

    GCC compiles the bench and links; the model is compiled by ``name`` with ``optimisation``.
    Every method raises ToolMissing where a program is not installed.
    """

    folder: Path
    core: Core
    name: CompilerName
    optimisation: Optimisation

    def version(self) -> str:
        """The compiler of the model as it names itself, with its flags for the core."""
        program = self._gcc() if self.name == "gcc" else self._clang()
        numbers = VERSION.findall(self._run([program, "--version"]).output.partition("\n")[0])
        number = numbers[-1] if numbers else "of unknown version"
        return " ".join((Path(program).name, number, self.optimisation, *self.core.flags))

    def compile_model(self, source: str, target: str, flags: Sequence[str]) -> str:
        """Compile a source of the model to ``target``; raises GateFailed when it is refused."""
        flags = (self.optimisation, *MODEL_FLAGS, *flags)
        if self.name == "gcc":
            return self._compile([self._gcc(), *self._gcc_flags(), *flags], source, target)
        command = [self._clang(), f"--target={self.core.toolchain.clang}", *self.core.clang_flags]
        for folder in self._library_headers():
            command += ["-isystem", folder]
        return self._compile([*command, *flags], source, target)

    def compile_bench(self, source: str, target: str, flags: Sequence[str]) -> str:
        """Compile a source of the bench to ``target``."""
        return self._compile(
            [self._gcc(), *self._gcc_flags(), *BENCH_FLAGS, *flags], source, target
        )

    def link(
        self, objects: Sequence[str], script: str, target: str, symbols: Mapping[str, int]
    ) -> Finished:
        """Link objects with the libraries of the compiler, no start-up files."""
        command = [self._gcc(), *self._gcc_flags(), "-nostdlib", "-Wl,--gc-sections"]
        command += [f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()]
        command += ["-T", script, *objects]
        command += ["-Wl,--start-group", "-lc", "-lgcc", "-Wl,--end-group", "-o", target]
        return self._run(command)

    def section_sizes(self, firmware: str) -> dict[str, int]:
        """Bytes of every section. Raises GateUnavailable when they cannot be read."""
        asked = self._run([self._tool("size"), "-A", firmware])
        sections = {name: int(size) for name, size in SECTION.findall(asked.output)}
        if not sections:
            raise GateUnavailable(f"{self.core.toolchain.prefix}size gave nothing to read.")
        return sections

    def _compile(self, command: list[str], source: str, target: str) -> str:
        (self.folder / target).parent.mkdir(parents=True, exist_ok=True)
        finished = self._run([*command, "-Ibench", "-Imodel", "-c", source, "-o", target])
        if finished.status:
            raise GateFailed(
                f"{source} does not compile for {self.core.title}: {first_error(finished)}",
                hint="Generated sources are C99 and need their headers beside them.",
            )
        return target

    def _library_headers(self) -> list[str]:
        """Folders with the C library's headers; clang brings those of the compiler itself."""
        command = [self._gcc(), *self._gcc_flags(), "-E", "-v", "-x", "c", "/dev/null"]
        listed = re.findall(r"^ (/\S+)$", self._run(command).errors, re.MULTILINE)
        folders = [os.path.normpath(folder) for folder in listed]
        return [folder for folder in folders if "gcc" not in Path(folder).parts]

    def _gcc_flags(self) -> tuple[str, ...]:
        return (*self.core.toolchain.flags, *self.core.flags)

    def _gcc(self) -> str:
        return self._tool("gcc")

    def _clang(self) -> str:
        return find_tool("clang", "clang")

    def _tool(self, name: str) -> str:
        toolchain = self.core.toolchain
        return find_tool(f"{toolchain.prefix}{name}", toolchain.packages)

    def _run(self, command: Sequence[str]) -> Finished:
        return run_tool(command, self.folder, COMPILE_SECONDS)


def first_error(finished: Finished) -> str:
    """The first line in which a compiler or linker says what is wrong."""
    lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower() or "undefined reference" in line]
    return (wrong or lines or ["no reason given"])[0][:300]
