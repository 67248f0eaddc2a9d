"""What this machine has: engines, metrics and tools, and how to get the rest. Imports none."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata

from runtime.engines import ENGINES
from runtime.profiling.backends import BACKENDS, BackendInfo

VERSION_TIMEOUT = 10.0  # seconds
VERSION = re.compile(r"\d+\.\d+(\.\d+)*")


@dataclass(frozen=True)
class Finding:
    """One thing looked for; ``version`` is empty when it is missing, ``get`` says how to get it."""

    group: str
    name: str
    present: bool
    version: str
    purpose: str
    get: str


@dataclass(frozen=True)
class _Package:
    group: str
    name: str
    distributions: tuple[str, ...]  # any of them will do
    purpose: str
    get: str


@dataclass(frozen=True)
class _Tool:
    name: str
    purpose: str
    get: str
    ask: str = "--version"


_PACKAGES = (
    _Package("audio", "soundfile", ("soundfile",), "reads and writes audio files", "soundfile"),
    _Package("audio", "soxr", ("soxr",), "resamples", "soxr"),
    _Package("metrics", "pesq", ("pesq",), "PESQ-WB score", "'sordino[metrics]'"),
    _Package("metrics", "pystoi", ("pystoi",), "STOI score", "'sordino[metrics]'"),
    _Package("training", "torch", ("torch",), "trains and exports", "'sordino[distill]'"),
    _Package("training", "safetensors", ("safetensors",), "checkpoints", "'sordino[distill]'"),
    _Package("training", "pyyaml", ("pyyaml",), "recipes", "'sordino[distill]'"),
    _Package("export", "onnx", ("onnx",), "writes ONNX models", "'sordino[export]'"),
    _Package("export", "onnxscript", ("onnxscript",), "writes ONNX models", "'sordino[export]'"),
    _Package("export", "onnxsim", ("onnxsim",), "simplifies ONNX models", "'sordino[export]'"),
    _Package("export", "flatbuffers", ("flatbuffers",), "writes TFLite", "'sordino[export]'"),
    _Package(
        "export",
        "tensorflow",
        ("tensorflow", "tensorflow-cpu"),
        "independent converter to compare with",
        "'sordino[tensorflow]'",
    ),
    _Package("profile", "vela", ("ethos-u-vela",), "models Ethos-U NPUs", "'sordino[profile]'"),
    _Package("profile", "pyserial", ("pyserial",), "reads boards", "'sordino[profile]'"),
    _Package("profile", "ziglang", ("ziglang",), "compiles for bare cores", "'sordino[cross]'"),
    _Package("profile", "sounddevice", ("sounddevice",), "live audio", "'sordino[live]'"),
)
_TOOLS = (
    _Tool("gcc", "compiles packs for this host", "gcc"),
    _Tool(
        "arm-none-eabi-gcc",
        "compiles packs for Cortex-M",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ),
    _Tool("qemu-system-arm", "runs Cortex-M firmware without a board", "qemu-system-arm"),
    _Tool("clang", "compiles generated C a second time, to be sure", "clang"),
    _Tool(
        "riscv64-unknown-elf-gcc",
        "compiles generated C for RISC-V",
        "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    ),
    _Tool("qemu-system-riscv32", "runs RISC-V firmware without a board", "qemu-system-misc"),
    _Tool("adb", "reaches Android devices", "adb"),
    _Tool("ssh", "reaches Linux devices", "openssh-client", ask="-V"),
    _Tool("aarch64-linux-gnu-gcc", "compiles for 64-bit Arm Linux", "gcc-aarch64-linux-gnu"),
    _Tool("flite", "speaks the demo corpus anew", "flite"),
    _Tool("espeak-ng", "speaks the demo corpus anew", "espeak-ng"),
)


def examine() -> tuple[Finding, ...]:
    """Look for everything sordino can use, in the order in which it is shown."""
    return (
        *(_engine(name) for name in ENGINES),
        *(_package(package) for package in _PACKAGES),
        *(_backend(info) for info in BACKENDS.values()),
        *(_tool(tool) for tool in _TOOLS),
    )


def engine_version(name: str) -> str:
    """Version of what an engine needs, its package or a C compiler; empty when it is missing."""
    info = ENGINES[name]
    if info.distribution:
        return installed_version((info.distribution,))
    from runtime.engines.native import find_compiler

    compiler = find_compiler()
    return _tool_version(compiler) if compiler else ""


def tool_of(engine: str) -> str:
    """The package behind an engine and its version, as figures name their tool."""
    return f"{ENGINES[engine].distribution or 'C compiler'} {engine_version(engine)}"


def _engine(name: str) -> Finding:
    info = ENGINES[name]
    version = engine_version(name)
    return Finding("engine", name, bool(version), version, info.summary, info.install)


def _backend(info: BackendInfo) -> Finding:
    """A place to profile on; whether a device answers is seen when it is asked."""
    present = all(any(map(shutil.which, group)) for group in info.programs) and all(
        installed_version(group) for group in info.distributions
    )
    what = f"{info.summary} ({info.provenance})"
    return Finding(
        "profile --on", info.name, present, "ready" if present else "", what, info.install
    )


def _package(package: _Package) -> Finding:
    version = installed_version(package.distributions)
    return Finding(
        package.group,
        package.name,
        bool(version),
        version,
        package.purpose,
        f"pip install {package.get}",
    )


def _tool(tool: _Tool) -> Finding:
    path = shutil.which(tool.name)
    version = _tool_version(path, tool.ask) if path else ""
    return Finding(
        "tool", tool.name, bool(path), version, tool.purpose, f"sudo apt install {tool.get}"
    )


def installed_version(distributions: tuple[str, ...]) -> str:
    """Version of the first installed distribution, empty when none is."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _tool_version(path: str, ask: str = "--version") -> str:
    """The version in what a tool says of itself; one that will not say is still present."""
    try:
        asked = subprocess.run(
            [path, ask],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "version unknown"
    found = VERSION.search(asked.stdout or asked.stderr)
    return found[0] if found else "version unknown"
