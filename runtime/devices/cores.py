"""Cores that can be simulated, and the machines of QEMU that have them."""

from __future__ import annotations

from dataclasses import dataclass

from targets.errors import InputError

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU: where its memory is, and a counter driven by simulated time.

    Under ``-icount shift=N`` every instruction takes 2^N ns of simulated time, so the counter
    advances by 2^N / ``nanoseconds`` ticks with each. That has to be more than 2 for a difference
    of two readings to tell neighbouring counts apart.
    """

    name: str  # as QEMU calls it
    counter: tuple[str, ...]  # definitions for the machine's C file
    nanoseconds: float  # of one tick
    shift: int
    vectors: int
    rom: tuple[int, int]  # address and bytes
    ram: tuple[int, int]
    stack: int
    options: tuple[str, ...] = ()

    @property
    def ticks_per_instruction(self) -> float:
        return float((1 << self.shift) / self.nanoseconds)


@dataclass(frozen=True)
class ZigTarget:
    """A core as the clang of the package ``ziglang`` calls it."""

    target: str  # architecture, system and ABI of calls
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """A cross compiler and the simulator of what it compiles for."""

    prefix: str
    simulator: str
    packages: str  # Debian's
    support: str  # C file with start-up code, counter and semihosting
    flags: tuple[str, ...]  # GCC's, for every core
    clang: str  # the target triple

    @property
    def gcc(self) -> str:
        """The name of GCC's program."""
        return f"{self.prefix}gcc"


@dataclass(frozen=True)
class Core:
    """A processor core: the flags to compile for it, and machines to try, smallest first."""

    name: str
    title: str
    toolchain: Toolchain
    flags: tuple[str, ...]
    zig: ZigTarget
    machines: tuple[Machine, ...]
    note: str = ""

    @property
    def floats(self) -> bool:
        """Whether the core computes with float32 itself."""
        return "-mfloat-abi=hard" in self.flags

    @property
    def clang_flags(self) -> tuple[str, ...]:
        """Clang takes GCC's flags but for this one."""
        return (*self.flags, *(flag for flag in self.toolchain.flags if flag.startswith("-m")))


ARM = Toolchain(
    prefix="arm-none-eabi-",
    simulator="qemu-system-arm",
    packages="gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
    support="cortex_m.c",
    flags=("-mthumb",),
    clang="arm-none-eabi",
)
RISCV = Toolchain(
    prefix="riscv64-unknown-elf-",
    simulator="qemu-system-riscv32",
    packages="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc",
    support="riscv.c",
    flags=("--specs=picolibc.specs", "-mcmodel=medany"),
    clang="riscv32-unknown-elf",
)


def _mps2(name: str) -> Machine:
    """Arm's MPS2 board: 4 MB at 0 and at 0x20000000, timer at 25 MHz."""
    return Machine(
        name=name,
        counter=("COUNTER_CMSDK", "COUNTER_AT=0x40000000u"),
        nanoseconds=40.0,
        shift=8,
        vectors=0,
        rom=(0x100, 4 * MIB - 0x100),
        ram=(0x2000_0000, 4 * MIB),
        stack=32 * KIB,
    )


AN385 = _mps2("mps2-an385")
MICROBIT = Machine(
    name="microbit",
    counter=("COUNTER_NRF51", "COUNTER_AT=0x40008000u"),
    nanoseconds=62.5,  # 16 MHz
    shift=8,
    vectors=0,
    rom=(0x100, 256 * KIB - 0x100),
    ram=(0x2000_0000, 16 * KIB),
    stack=2 * KIB,
)
AN505 = Machine(
    name="mps2-an505",
    counter=("COUNTER_CMSDK", "COUNTER_AT=0x50000000u"),
    nanoseconds=50.0,  # 20 MHz
    shift=8,
    vectors=0x1000_0000,  # it starts in secure state
    rom=(0x1000_0100, 4 * MIB - 0x100),
    ram=(0x3800_0000, 4 * MIB),
    stack=32 * KIB,
)
AN547 = Machine(
    name="mps3-an547",
    counter=("COUNTER_SSE", "COUNTER_AT=0x58100000u"),
    nanoseconds=31.25,  # 32 MHz
    shift=8,
    vectors=0,
    rom=(0x6000_0000, 4 * MIB),
    ram=(0x2000_0000, 512 * KIB),
    stack=32 * KIB,
)
VIRT = Machine(
    name="virt",
    counter=(),
    nanoseconds=1.0,  # minstret, which counts 2^shift for an instruction or 1, depending on QEMU
    shift=0,
    vectors=0x8000_0000,
    rom=(0x8000_0100, 8 * MIB - 0x100),
    ram=(0x8080_0000, 8 * MIB),
    stack=32 * KIB,
    options=("-bios", "none", "-cpu", "rv32,f=false,d=false"),
)


def _zig_arm(cpu: str, *, floats: bool = True) -> ZigTarget:
    return ZigTarget(f"thumb-freestanding-eabi{'hf' if floats else ''}", (f"-mcpu={cpu}",))


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core(
            "cortex-m0",
            "Cortex-M0",
            ARM,
            ("-mcpu=cortex-m0", "-mfloat-abi=soft"),
            _zig_arm("cortex_m0", floats=False),
            (MICROBIT, AN385),
            "a model too large for the micro:bit runs on the mps2-an385, whose Cortex-M3 executes "
            "code for Cortex-M0 unchanged",
        ),
        Core(
            "cortex-m3",
            "Cortex-M3",
            ARM,
            ("-mcpu=cortex-m3", "-mfloat-abi=soft"),
            _zig_arm("cortex_m3", floats=False),
            (AN385,),
        ),
        Core(
            "cortex-m4",
            "Cortex-M4F",
            ARM,
            ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            _zig_arm("cortex_m4+vfp4d16sp"),
            (_mps2("mps2-an386"),),
        ),
        Core(
            "cortex-m7",
            "Cortex-M7F",
            ARM,
            ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
            _zig_arm("cortex_m7+fp_armv8d16"),
            (_mps2("mps2-an500"),),
        ),
        Core(
            "cortex-m33",
            "Cortex-M33F",
            ARM,
            ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            _zig_arm("cortex_m33+dsp+fp_armv8d16sp"),
            (AN505,),
        ),
        Core(
            "cortex-m55",
            "Cortex-M55 with Helium",
            ARM,
            ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
            _zig_arm("cortex_m55+mve+mve_fp"),
            (AN547,),
        ),
        Core(
            "rv32imac",
            "RV32IMAC",
            RISCV,
            ("-march=rv32imac", "-mabi=ilp32"),
            ZigTarget("riscv32-freestanding-none", ("-mcpu=generic_rv32+m+a+c", "-mcmodel=medium")),
            (VIRT,),
        ),
    )
}

# Cores that execute the code of a simulated one unchanged, instruction by instruction.
ALIKE = {"cortex-m0plus": "cortex-m0", "rv32imc": "rv32imac"}


def core_named(name: str) -> Core:
    """The core called ``name``, or the one that stands for it; raises InputError without one."""
    name = ALIKE.get(name, name)
    if name not in CORES:
        raise InputError(
            f"No core called {name!r} can be simulated.", hint=f"Known: {', '.join(CORES)}."
        )
    return CORES[name]
