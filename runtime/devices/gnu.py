"""The GNU cross compilers of Debian, and clang with their libraries."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.devices.children import Finished, find_tool
from runtime.devices.compiling import CrossCompiler, first_version


@dataclass(frozen=True)
class GnuCompiler(CrossCompiler):
    """GCC compiles the bench and links; the model is compiled by ``name``."""

    name: Literal["gcc", "clang"] = "gcc"

    def version(self) -> str:
        program = self._gcc() if self.name == "gcc" else self._clang()
        number = first_version(self._run([program, "--version"]))
        return " ".join((Path(program).name, number, self.optimisation, *self.core.flags))

    def link(
        self, objects: Sequence[str], script: str, target: str, symbols: Mapping[str, int]
    ) -> Finished:
        command = [self._gcc(), *self._gcc_flags(), "-nostdlib", "-Wl,--gc-sections"]
        command += [f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()]
        command += ["-T", script, *objects]
        command += ["-Wl,--start-group", "-lc", "-lgcc", "-Wl,--end-group", "-o", target]
        return self._run(command)

    def _model_command(self) -> Sequence[str]:
        if self.name == "gcc":
            return [self._gcc(), *self._gcc_flags()]
        command = [self._clang(), f"--target={self.core.toolchain.clang}", *self.core.clang_flags]
        for folder in self._library_headers():
            command += ["-isystem", folder]
        return command

    def _bench_command(self) -> Sequence[str]:
        # Loops of the start-up code stay loops: no call of memset before memory is ready.
        return [self._gcc(), *self._gcc_flags(), "-fno-tree-loop-distribute-patterns"]

    def _library_headers(self) -> list[str]:
        """Folders with the C library's headers; clang brings those of the compiler itself."""
        command = [self._gcc(), *self._gcc_flags(), "-E", "-v", "-x", "c", "/dev/null"]
        listed = re.findall(r"^ (/\S+)$", self._run(command).errors, re.MULTILINE)
        folders = [os.path.normpath(folder) for folder in listed]
        return [folder for folder in folders if "gcc" not in Path(folder).parts]

    def _gcc_flags(self) -> tuple[str, ...]:
        return (*self.core.toolchain.flags, *self.core.flags)

    def _gcc(self) -> str:
        toolchain = self.core.toolchain
        return find_tool(toolchain.gcc, toolchain.packages)

    def _clang(self) -> str:
        return find_tool("clang", "clang")
