"""Firmware around a generated model, built for one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from runtime.devices.compiling import CrossCompiler, first_error
from runtime.devices.cores import Machine
from runtime.devices.elf import section_sizes
from runtime.devices.simulation import C_TYPES, GoldenVectors, Sizes
from runtime.generated_c import audio_source, model_name
from targets.errors import GateFailed, InputError

TOO_LARGE = re.compile(r"region `\w+' overflowed|will not fit in region")
LINKER_SCRIPT = "firmware.ld"
BENCH_FILES = ("bench.c", "bench.h", "cortex_m.c", "riscv.c", LINKER_SCRIPT, "zig/string.h")
# What the bench calls for every frame: the network's step, features in and mask out, or the whole
# audio path, one hop of samples in and one out.
Call = Literal["step", "audio"]


@dataclass(frozen=True)
class Firmware:
    """A linked firmware, the machine it is for, and its sizes."""

    path: Path
    machine: Machine
    sizes: Sizes


def furnish(folder: Path, sources: Mapping[str, bytes], vectors: GoldenVectors, call: Call) -> str:
    """Lay out sources, bench and golden features in ``folder``; returns the model's name.

    Raises InputError for other sources than those of one model, or without what is called.
    """
    name = model_name(sources)
    if call == "audio" and audio_source(name) not in sources:
        raise InputError(
            "These C sources have no audio path.",
            hint="It is written for contracts whose fft_size is a power of two.",
        )
    for part in ("model", "bench/zig"):
        (folder / part).mkdir(parents=True)
    for source, content in sources.items():
        (folder / "model" / source).write_bytes(content)
    for source in BENCH_FILES:
        content = resources.files("runtime.devices").joinpath("firmware", source).read_bytes()
        (folder / "bench" / source).write_bytes(content)
    (folder / "bench" / "bench_model.h").write_text(_bench_model(name, vectors, call))
    (folder / "features.bin").write_bytes(_little_endian(vectors))
    return name


def build(
    compiler: CrossCompiler, name: str, call: Call = "step", *, operators: int = 0
) -> Firmware:
    """Firmware of a furnished model for the first machine of the core that has room.

    ``operators`` is the number of profiling hooks to record, 0 to compile without them. Raises
    ToolMissing; GateFailed when the compiler refuses the sources or no machine has room.
    """
    core = compiler.core
    kind = "profile" if operators else "step"
    hooks = [f"-D{name.upper()}_PROFILE"] if operators else []
    recorded = [*hooks, f"-DBENCH_OPERATORS={operators}"] if operators else []
    bodies = [name, audio_source(name).removesuffix(".c")] if call == "audio" else [name]
    objects = [
        *(compiler.compile_model(f"model/{b}.c", f"{kind}/model/{b}.o", hooks) for b in bodies),
        compiler.compile_bench("bench/bench.c", f"{kind}/bench/bench.o", recorded),
    ]
    for machine in core.machines:
        counter = [f"-D{definition}" for definition in machine.counter]
        source = f"bench/{core.toolchain.support}"
        support = compiler.compile_bench(source, f"{kind}/bench/support.o", counter)
        target = f"{kind}/firmware.elf"
        script = f"bench/{LINKER_SCRIPT}"
        linked = compiler.link([*objects, support], script, target, _layout(machine))
        if linked.status == 0:
            sizes = _sizes(section_sizes((compiler.folder / target).read_bytes()))
            return Firmware(compiler.folder / target, machine, sizes)
        if not TOO_LARGE.search(linked.errors):
            raise GateFailed(
                f"The model does not link for {core.title}: {first_error(linked)}",
                hint="Generated sources need nothing but memcpy and memset.",
            )
    largest = core.machines[-1]
    raise GateFailed(
        f"The model fits no machine that simulates {core.title}.",
        hint=f"The largest has {largest.rom[1]} bytes of flash and {largest.ram[1]} of RAM.",
    )


def _layout(machine: Machine) -> dict[str, int]:
    """The symbols that the linker script takes."""
    return {
        "VECTORS_AT": machine.vectors,
        "ROM_AT": machine.rom[0],
        "ROM_BYTES": machine.rom[1],
        "RAM_AT": machine.ram[0],
        "RAM_BYTES": machine.ram[1],
        "STACK_BYTES": machine.stack,
    }


def _sizes(sections: Mapping[str, int]) -> Sizes:
    def of(*names: str) -> int:
        return sum(sections.get(name, 0) for name in names)

    return Sizes(
        text=of(".model.text"),
        rodata=of(".model.rodata"),
        data=of(".model.data"),
        bss=of(".model.bss"),
        library_code=of(".library.text", ".library.data", ".ARM.exidx"),
        library_data=of(".library.data", ".library.bss"),
        instance=of(".instance"),
    )


def _bench_model(name: str, vectors: GoldenVectors, call: Call) -> str:
    """What bench.c has to know of the model; types that differ from its own do not compile."""
    features, masks = vectors.features, vectors.masks
    prefix = name if call == "step" else f"{name}_audio"
    lines = [
        f'#include "{prefix}.h"',
        f"#define MODEL(member) {prefix}_##member",
        f"typedef {C_TYPES[features.dtype.name]} model_feature;",
        f"typedef {C_TYPES[masks.dtype.name]} model_mask;",
        f"#define MODEL_FEATURES {features.shape[1]}",
        f"#define MODEL_MASKS {masks.shape[1]}",
        *([f"#define {prefix}_step {prefix}_process"] if call == "audio" else []),
    ]
    return "\n".join(lines) + "\n"


def _little_endian(vectors: GoldenVectors) -> bytes:
    features = vectors.features
    return features.astype(features.dtype.newbyteorder("<")).tobytes()
