"""Which of the compilers that are installed here builds the firmware of a core."""

from __future__ import annotations

import shutil
from pathlib import Path

from runtime.devices import zig
from runtime.devices.children import ToolMissing, find_tool
from runtime.devices.compiling import CompilerName, CrossCompiler, Optimisation
from runtime.devices.cores import Core
from runtime.devices.gnu import GnuCompiler
from runtime.devices.zig import ZigCompiler


def cross_compiler(
    folder: Path, core: Core, name: CompilerName | None, optimisation: Optimisation
) -> CrossCompiler:
    """The compiler ``name`` of a core, working in ``folder``; without a name GCC, or the clang of
    ziglang where GCC is missing. Raises ToolMissing, which names both, where there is neither."""
    name = name or _installed(core)
    if name == "zig":
        return ZigCompiler(folder, core, optimisation)
    return GnuCompiler(folder, core, optimisation, name)


def require(core: Core) -> None:
    """Raise ToolMissing unless a compiler and the simulator of ``core`` are installed here."""
    find_tool(core.toolchain.simulator, core.toolchain.packages)
    _installed(core)


def _installed(core: Core) -> CompilerName:
    if shutil.which(core.toolchain.gcc):
        return "gcc"
    if zig.available():
        return "zig"
    raise ToolMissing(
        f"No compiler for {core.title}: neither {core.toolchain.gcc} nor the Python package "
        f"{zig.PACKAGE} is installed here.",
        hint=f"sudo apt install {core.toolchain.packages}, or pip install {zig.PACKAGE}; "
        "`sordino doctor` lists what this machine has.",
    )
