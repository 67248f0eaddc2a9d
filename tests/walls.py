"""Which package may import what, read from the syntax tree without importing anything."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A room may import itself and those before it.
ROOMS = ("targets", "runtime", "distill", "export", "sordino")

_LIGHT = {"click", "pydantic", "pydantic_core", "rich"}
_RUNTIME = _LIGHT | {"ai_edge_litert", "numpy", "onnxruntime", "soundfile", "soxr"}
# Used where they are installed.
_RUNTIME_OPTIONAL = {
    "clarity",
    "matplotlib",
    "pesq",
    "pystoi",
    "serial",
    "sounddevice",
    "tflite_micro",
}
# onnx, from the extra `export`: a teacher in an ONNX file is read for the names of its tensors.
_DISTILL = (
    _RUNTIME
    | _RUNTIME_OPTIONAL
    | {"lightning_fabric", "onnx", "pyroomacoustics", "safetensors", "scipy", "torch", "yaml"}
    | {"distributed", "jinja2", "joblib", "matplotlib", "pyarrow"}  # studies
)
_EXPORT = _DISTILL | {"flatbuffers", "ml_dtypes", "onnxscript", "onnxsim", "tensorflow"}

# What from outside the standard library a room may import, anywhere in its files.
PACKAGES = {
    "targets": _LIGHT,
    "runtime": _RUNTIME | _RUNTIME_OPTIONAL,
    "distill": _DISTILL,
    "export": _EXPORT,
    "sordino": {"click"},
}

# What a command-line module may import before a command is called.
LIGHT_AT_START = {"click", "targets.command", "targets.errors", "targets.ranges"}


@dataclass(frozen=True)
class Import:
    """One imported module; ``at_start`` when importing the file imports it."""

    line: int
    module: str
    at_start: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports_of(source: str) -> Iterator[Import]:
    """Every import of a module's source, those inside functions and type-only blocks included."""
    yield from _walk(ast.parse(source), at_start=True)


def _walk(node: ast.AST, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(child.lineno, alias.name, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            yield Import(child.lineno, module, at_start)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.body:
                yield from _walk(ast.Module([statement], []), at_start=False)
            for statement in child.orelse:
                yield from _walk(ast.Module([statement], []), at_start=at_start)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, at_start=at_start and not later)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def violations(root: Path) -> list[str]:
    """Every import under ``root`` that a wall forbids, as ``file:line: what``."""
    found = []
    for path in _sources(root):
        place = path.relative_to(root)
        room = place.parts[0].removesuffix(".py")
        for imported in imports_of(path.read_text(encoding="utf-8")):
            if complaint := _complaint(place, room, imported):
                found.append(f"{place}:{imported.line}: {complaint}")
    return found


def _sources(root: Path) -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((root / room).rglob("*.py"))
    if (door := root / "sordino.py").is_file():
        yield door


def _complaint(place: Path, room: str, imported: Import) -> str:
    if imported.module.startswith("."):
        return "relative import: name the package"
    if imported.top in ROOMS:
        if ROOMS.index(imported.top) > ROOMS.index(room):
            return f"{room} may not import {imported.module}: it stands behind {room}"
    elif imported.top not in sys.stdlib_module_names and imported.top not in PACKAGES[room]:
        return f"{room} may not import {imported.module}"
    if imported.at_start and _starts_a_command(place) and not _light(place, room, imported):
        return f"{imported.module} is imported before a command is called"
    return ""


def _starts_a_command(place: Path) -> bool:
    """What is imported on the way to a command: a room's own ``__init__`` included."""
    if place.name == "__init__.py":
        return len(place.parts) == 2
    return place.name.endswith("cli.py") or place.name in (
        "__main__.py",
        "command.py",
        "sordino.py",
    )


def _light(place: Path, room: str, imported: Import) -> bool:
    if imported.top in sys.stdlib_module_names or imported.module in LIGHT_AT_START:
        return True
    own = imported.module.startswith(f"{room}.") and imported.module.endswith("cli")
    return place.name == "__main__.py" and own
