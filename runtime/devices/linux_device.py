"""What a Linux or Android device says of itself: model, kernel, cores."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from runtime.devices.remote import Shell, printable
from targets.errors import GateUnavailable, InputError

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # of the running kernel, made anew at every start
X86 = ("x86_64", "i386", "i486", "i586", "i686")
CORES = "/sys/devices/system/cpu/cpu"
# One line for any shell; what a device does not have stays empty.
ASK = (
    "exec 2>/dev/null; "
    "echo machine=$(uname -m); echo kernel=$(uname -s -r); "
    f"echo boot=$(cat {BOOT_ID}); "
    "echo tree=$(cat /proc/device-tree/model); "
    "echo board=$(cat /sys/class/dmi/id/product_name); "
    "echo processor=$(grep -m 1 '^model name' /proc/cpuinfo); "
    "echo vendor=$(grep -m 1 '^vendor_id' /proc/cpuinfo); "
    "echo allowed=$(grep Cpus_allowed_list /proc/self/status); "
    "echo maker=$(getprop ro.product.manufacturer); "
    "echo product=$(getprop ro.product.model); "
    "echo soc=$(getprop ro.soc.model); "
    "echo release=$(getprop ro.build.version.release); "
    "echo virtual=$(getprop ro.kernel.qemu)$(getprop ro.boot.qemu); "
    f"for core in {CORES}[0-9]*; do number=${{core##*cpu}}; "
    "echo capacity.$number=$(cat $core/cpu_capacity); "
    "echo fastest.$number=$(cat $core/cpufreq/cpuinfo_max_freq); "
    "echo governor.$number=$(cat $core/cpufreq/scaling_governor); done; true"
)


@dataclass(frozen=True)
class Core:
    """One processor core; 0 and empty where the kernel does not say."""

    number: int
    capacity: int = 0  # 1024 for the fastest of the device
    fastest_khz: int = 0
    governor: str = ""


@dataclass(frozen=True)
class Device:
    """``machine`` is what ``uname -m`` says; ``cores`` are those a program may use."""

    model: str
    machine: str
    kernel: str
    cores: tuple[Core, ...]
    boot_id: str = ""
    emulated: bool = False  # by another processor, or an emulator of Android

    def __str__(self) -> str:
        return f"{self.model} ({self.machine}, {self.kernel})"

    @property
    def is_this_machine(self) -> bool:
        """Whether the very kernel runs there that runs here."""
        return bool(self.boot_id) and self.boot_id == _boot_id_here()

    def core(self, number: int | None) -> Core:
        """The core ``number``, by default the fastest: of several the last, as the first of them
        serves more interrupts. Raises InputError for one that programs may not use."""
        if number is None:
            return max(self.cores, key=lambda core: (core.capacity, core.fastest_khz, core.number))
        for core in self.cores:
            if core.number == number:
                return core
        raise InputError(
            f"{self.model} lets no program use core {number}.",
            hint=f"Cores there: {', '.join(str(core.number) for core in self.cores)}.",
        )


def read_device(shell: Shell) -> Device:
    """Ask a device what it is. Raises GateUnavailable where it is no Linux."""
    finished = shell.run(ASK)
    lines = [line.partition("=") for line in finished.output.replace("\x00", "").splitlines()]
    said = {key: printable(value) for key, _, value in lines}
    if not said.get("machine") or not said.get("kernel", "").startswith("Linux"):
        raise GateUnavailable(
            f"{shell.name} is no Linux machine ({said.get('kernel') or 'it does not say what'}).",
            hint="Programs are built for Linux and Android only.",
        )
    return Device(
        model=_model(said),
        machine=said["machine"],
        kernel=said["kernel"] + (f", Android {said['release']}" if said.get("release") else ""),
        cores=_cores(said),
        boot_id=said.get("boot", ""),
        emulated=_is_emulated(said),
    )


def _is_emulated(said: dict[str, str]) -> bool:
    """What emulates single programs leaves the kernel's files, in which x86 alone has a vendor."""
    foreign = bool(said.get("vendor")) and said["machine"] not in X86
    return foreign or "1" in said.get("virtual", "")


def _model(said: dict[str, str]) -> str:
    phone = " ".join(filter(None, (said.get("maker"), said.get("product"))))
    if phone:
        return f"{phone}, {said['soc']}" if said.get("soc") else phone
    processor = said.get("processor", "").partition(":")[2].strip()
    return said.get("tree") or said.get("board") or processor or said["machine"]


def _cores(said: dict[str, str]) -> tuple[Core, ...]:
    """The cores of the kernel's list, or all it shows, or the first."""
    shown = [int(key[9:]) for key in said if re.fullmatch(r"capacity\.\d{1,4}", key)]
    allowed = _numbers(said.get("allowed", "").partition(":")[2])
    numbers = sorted(allowed or set(shown) or {0})
    return tuple(
        Core(
            number,
            _count(said.get(f"capacity.{number}", "")),
            _count(said.get(f"fastest.{number}", "")),
            said.get(f"governor.{number}", ""),
        )
        for number in numbers
    )


def _numbers(listing: str) -> set[int]:
    """``0-3,6`` → 0, 1, 2, 3, 6."""
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", listing):
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _count(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,12}", text) else 0


def _boot_id_here() -> str:
    if platform.system() != "Linux":
        return ""
    try:
        return Path(BOOT_ID).read_text().strip()
    except OSError:
        return ""
