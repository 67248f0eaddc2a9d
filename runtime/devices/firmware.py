"""Firmware around a generated model: compiled and linked for one machine, its sections measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from runtime.devices.children import Finished, find_tool, run_tool
from runtime.devices.cores import Core, Machine
from runtime.devices.simulation import C_TYPES, GoldenVectors, Sizes
from targets.errors import GateFailed, GateUnavailable, InputError

COMPILE_SECONDS = 300.0
OPTIMISATIONS = ("-O3", "-O2", "-Os")
SOURCE_NAME = re.compile(r"[A-Za-z_]\w*\.[ch]")
TOO_LARGE = re.compile(r"region `\w+' overflowed|will not fit in region")
SECTION = re.compile(r"^(\.[\w.]+)\s+(\d+)\s", re.MULTILINE)
# Strict ISO C also keeps the compiler from fusing float multiplications with additions.
MODEL_FLAGS = ("-std=c99", "-ffunction-sections", "-fdata-sections")
BENCH_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fno-tree-loop-distribute-patterns",  # no memset in the start-up code
    "-Werror=incompatible-pointer-types",  # a model with other types than its golden vectors
)
BENCH_FILES = ("bench.c", "bench.h", "cortex_m.c", "riscv.c", "firmware.ld")


@dataclass(frozen=True)
class Firmware:
    """A linked firmware, the machine it is for, and its sizes."""

    path: Path
    machine: Machine
    sizes: Sizes


@dataclass(frozen=True)
class Workshop:
    """A temporary folder in which a model is built for one core."""

    folder: Path
    core: Core
    optimisation: str
    name: str  # of the model: NAME.c, NAME.h, NAME_step

    def compiler(self) -> str:
        """Path of the compiler. Raises ToolMissing."""
        return self._tool("gcc")

    def compiler_version(self) -> str:
        """The compiler as it names itself, with its flags for the core."""
        asked = run_tool([self.compiler(), "-dumpfullversion"], self.folder, COMPILE_SECONDS)
        flags = " ".join((self.optimisation, *self.core.flags))
        return f"{self.core.toolchain.prefix}gcc {asked.output.strip()} {flags}"

    def build(self, *, operators: int = 0) -> Firmware:
        """Firmware for the first machine of the core that has room.

        ``operators`` is the number of profiling hooks to record, 0 to compile without them. Raises
        ToolMissing; GateFailed when the compiler refuses the sources or no machine has room.
        """
        kind = "profile" if operators else "step"
        flags = [f"-D{self.name.upper()}_PROFILE"] if operators else []
        model = self._compile(
            f"model/{self.name}.c", f"{kind}/model", (self.optimisation, *MODEL_FLAGS, *flags)
        )
        settings = [f"-DBENCH_OPERATORS={operators}"] if operators else []
        for machine in self.core.machines:
            counter = tuple(f"-D{definition}" for definition in machine.counter)
            bench = [
                self._compile(f"bench/{source}", f"{kind}/bench", (*BENCH_FLAGS, *extra))
                for source, extra in (
                    ("bench.c", (*settings, *flags)),
                    (self.core.toolchain.support, counter),
                )
            ]
            path = self.folder / kind / "firmware.elf"
            linked = self._link([model, *bench], path, machine)
            if linked.status == 0:
                return Firmware(path, machine, self._sizes(path))
            if not TOO_LARGE.search(linked.errors):
                raise GateFailed(
                    f"The model does not link for {self.core.title}: {_first_error(linked)}",
                    hint="This should not happen with generated sources.",
                )
        raise GateFailed(
            f"The model fits no machine that simulates {self.core.title}.",
            hint=f"The largest has {self.core.machines[-1].rom[1]} bytes of flash and "
            f"{self.core.machines[-1].ram[1]} of RAM.",
        )

    def _compile(self, source: str, folder: str, flags: tuple[str, ...]) -> str:
        target = self.folder / folder / f"{Path(source).stem}.o"
        target.parent.mkdir(parents=True, exist_ok=True)
        toolchain = self.core.toolchain
        command = [self.compiler(), *toolchain.flags, *self.core.flags, *flags]
        command += ["-Ibench", "-Imodel", "-c", source, "-o", str(target)]
        finished = run_tool(command, self.folder, COMPILE_SECONDS)
        if finished.status:
            raise GateFailed(
                f"{source} does not compile for {self.core.title}: {_first_error(finished)}",
                hint="Generated sources are C99 and need their headers beside them.",
            )
        return str(target.relative_to(self.folder))

    def _link(self, objects: list[str], target: Path, machine: Machine) -> Finished:
        toolchain = self.core.toolchain
        symbols = {
            "VECTORS_AT": machine.vectors,
            "ROM_AT": machine.rom[0],
            "ROM_BYTES": machine.rom[1],
            "RAM_AT": machine.ram[0],
            "RAM_BYTES": machine.ram[1],
            "STACK_BYTES": machine.stack,
        }
        command = [self.compiler(), *toolchain.flags, *self.core.flags, "-nostdlib"]
        command += [f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()]
        command += ["-Wl,--gc-sections", "-T", "bench/firmware.ld", *objects]
        command += ["-Wl,--start-group", "-lc", "-lgcc", "-Wl,--end-group", "-o", str(target)]
        return run_tool(command, self.folder, COMPILE_SECONDS)

    def _sizes(self, firmware: Path) -> Sizes:
        asked = run_tool([self._tool("size"), "-A", str(firmware)], self.folder, COMPILE_SECONDS)
        sections = {name: int(size) for name, size in SECTION.findall(asked.output)}
        if ".bench.text" not in sections:
            raise GateUnavailable(f"{self.core.toolchain.prefix}size gave nothing to read.")

        def bytes_of(*names: str) -> int:
            return sum(sections.get(name, 0) for name in names)

        return Sizes(
            text=bytes_of(".model.text"),
            rodata=bytes_of(".model.rodata"),
            data=bytes_of(".model.data"),
            bss=bytes_of(".model.bss"),
            library_code=bytes_of(".library.text", ".library.data", ".ARM.exidx"),
            library_data=bytes_of(".library.data", ".library.bss"),
            instance=bytes_of(".instance"),
        )

    def _tool(self, name: str) -> str:
        toolchain = self.core.toolchain
        return find_tool(f"{toolchain.prefix}{name}", toolchain.packages)


def furnish(
    folder: Path, sources: Mapping[str, bytes], vectors: GoldenVectors, core: Core, option: str
) -> Workshop:
    """Lay out sources, bench and golden features in ``folder``.

    Raises InputError for other sources than one NAME.c with its headers, or an unknown option.
    """
    if option not in OPTIMISATIONS:
        raise InputError(
            f"{option!r} is not an optimisation to compare.",
            hint=f"Known: {', '.join(OPTIMISATIONS)}.",
        )
    name = _model_name(sources)
    for part in ("model", "bench"):
        (folder / part).mkdir()
    for source, text in sources.items():
        (folder / "model" / source).write_bytes(text)
    for source in BENCH_FILES:
        text = resources.files("runtime.devices").joinpath("firmware", source).read_bytes()
        (folder / "bench" / source).write_bytes(text)
    (folder / "bench" / "bench_model.h").write_text(_bench_model(name, vectors))
    (folder / "features.bin").write_bytes(_little_endian(vectors))
    return Workshop(folder, core, option, name)


def _model_name(sources: Mapping[str, bytes]) -> str:
    strange = [name for name in sources if not SOURCE_NAME.fullmatch(name)]
    if strange:
        raise InputError(f"{strange[0]!r} is not the name of a C source.", hint="NAME.c, NAME.h")
    bodies = [name.removesuffix(".c") for name in sources if name.endswith(".c")]
    if len(bodies) != 1 or f"{bodies[0]}.h" not in sources:
        raise InputError(
            "A generated model is one C file and its headers.",
            hint="Give NAME.c, NAME.h and sordino_kernels.h.",
        )
    return bodies[0]


def _bench_model(name: str, vectors: GoldenVectors) -> str:
    """What bench.c has to know of the model; types that differ from its own do not compile."""
    features, masks = vectors.features, vectors.masks
    return (
        f'#include "{name}.h"\n'
        f"#define MODEL(member) {name}_##member\n"
        f"typedef {C_TYPES[features.dtype.name]} model_feature;\n"
        f"typedef {C_TYPES[masks.dtype.name]} model_mask;\n"
        f"#define MODEL_FEATURES {features.shape[1]}\n"
        f"#define MODEL_MASKS {masks.shape[1]}\n"
    )


def _little_endian(vectors: GoldenVectors) -> bytes:
    features = vectors.features
    return features.astype(features.dtype.newbyteorder("<")).tobytes()


def _first_error(finished: Finished) -> str:
    lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower() or "undefined reference" in line]
    return (wrong or lines or ["no reason given"])[0][:300]
