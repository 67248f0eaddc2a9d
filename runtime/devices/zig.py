"""Clang and lld as the Python package ``ziglang`` brings them: a cross compiler from pip alone.

It knows every core, but no C library for them. Generated C needs three functions of one, which are
declared here (``firmware/zig/string.h``) and defined, with the arithmetic that a core lacks, in the
run-time library that the package has the source of. That is compiled once for each core and kept in
the package's own cache.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from runtime.devices.children import Finished, ToolMissing
from runtime.devices.compiling import CrossCompiler, first_error, first_version
from targets.errors import GateUnavailable

PACKAGE = "ziglang"
LIBRARY = "library.o"
# As other compilers do of themselves: memcpy of four bytes is a load, registers are no frame
# pointers, nothing is added to what the sources say.
DEFAULTS = (
    "-fhosted",
    "-fomit-frame-pointer",
    "-fno-unwind-tables",
    "-fno-stack-protector",
    "-g0",
)


def available() -> bool:
    """Whether the package is installed for this Python."""
    return util.find_spec(PACKAGE) is not None


@dataclass(frozen=True)
class ZigCompiler(CrossCompiler):
    """Compiles model and bench and links them."""

    def version(self) -> str:
        clang = first_version(self._run([*_zig("cc"), "--version"]))
        package = f"{PACKAGE} {metadata.version(PACKAGE)}, clang {clang}"
        return " ".join((package, self.optimisation, *self._target()))

    def link(
        self, objects: Sequence[str], script: str, target: str, symbols: Mapping[str, int]
    ) -> Finished:
        command = [*_zig("ld.lld"), "--gc-sections"]
        command += [f"--defsym={name}={value:#x}" for name, value in symbols.items()]
        return self._run([*command, "-T", script, *objects, self._library(), "-o", target])

    def _model_command(self) -> Sequence[str]:
        return self._command()

    def _bench_command(self) -> Sequence[str]:
        return [*self._command(), "-Werror=incompatible-function-pointer-types"]

    def _command(self) -> list[str]:
        return [*_zig("cc"), *self._target(), "-isystem", "bench/zig", *DEFAULTS]

    def _library(self) -> str:
        if not (self.folder / LIBRARY).exists():
            source = _root() / "lib" / "compiler_rt.zig"
            command = [*_zig("build-obj"), str(source), *self._target(), "-OReleaseFast"]
            # Without builtins: a memcpy must not be made a call of memcpy.
            command += ["-fno-builtin", "-ffunction-sections", "-fno-unwind-tables", "-fstrip"]
            command += ["--cache-dir", self._cache(), f"-femit-bin={LIBRARY}"]
            finished = self._run(command)
            if finished.status:
                raise GateUnavailable(
                    f"The run-time library of {PACKAGE} does not compile for "
                    f"{self.core.title}: {first_error(finished)}",
                    hint=f"sudo apt install {self.core.toolchain.packages}",
                )
        return LIBRARY

    def _cache(self) -> str:
        environment = self._run(_zig("env")).output
        found = re.search(r'global_cache_dir\W+"([^"]+)"', environment)
        return found[1] if found else str(self.folder / "cache")

    def _target(self) -> tuple[str, ...]:
        return ("-target", self.core.zig.target, *self.core.zig.flags)


def _zig(command: str) -> list[str]:
    if not available():
        raise ToolMissing(
            f"The Python package {PACKAGE} is not installed here.", hint=f"pip install {PACKAGE}"
        )
    return [sys.executable, "-m", PACKAGE, command]


def _root() -> Path:
    found = util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ToolMissing(f"The Python package {PACKAGE} is not whole.")
    return Path(found.origin).parent
