"""Whether the parts of a pack belong together. Hashes are not asked here: a pack may have been
put together wrongly and hashed all the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from runtime.artefact import Sidecar
from runtime.figures import ARENA_FIGURE, Figure
from runtime.pack_format import (
    CONTRACT,
    FIGURES,
    FIRMWARE_FORMATS,
    GOLDEN,
    MODEL_HEADER,
    MODEL_SOURCE,
    OP_RESOLVER,
    Manifest,
    arena_constant,
    header_constants,
    resolver_lines,
)
from runtime.stft import StftContract
from targets.errors import InputError

Files = Mapping[str, bytes]
LARGEST_ARENA = float(1 << 32)  # bytes; also keeps infinities out


class CheckLine(NamedTuple):
    """One gate: its problems (none: it passed), what was found, what was demanded."""

    name: str
    problems: list[str]
    measured: str
    limit: str


def check_contents(files: Files, manifest: Manifest) -> list[CheckLine]:
    """Sidecar, contract and, for TFLite models, C sources, operators and arena."""
    try:
        sidecar = read_sidecar(files, manifest)
    except InputError as error:
        return [CheckLine("pack-sidecar", [error.message], "", "describes the model")]
    lines = [
        _line("pack-sidecar", _sidecar_problems, files, manifest, sidecar, "describes the model"),
        _line("pack-contract", _contract_problems, files, manifest, sidecar, "equals the sidecar"),
    ]
    if manifest.target in FIRMWARE_FORMATS:
        checks: list[tuple[str, _Check, str]] = [
            ("pack-c-array", _array_problems, "equals the model"),
            ("pack-operators", _operator_problems, "those of the sidecar"),
            ("pack-header", _header_problems, "those of sidecar and figures"),
        ]
        lines += [_line(name, check, files, manifest, sidecar, to) for name, check, to in checks]
    return lines


def read_sidecar(files: Files, manifest: Manifest) -> Sidecar:
    """The sidecar of the pack's model. Raises InputError when it is none."""
    try:
        return Sidecar.model_validate_json(files[manifest.sidecar])
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(f"{manifest.sidecar} is not a valid sidecar") from error


def read_figures(files: Files) -> tuple[Figure, ...]:
    """The figures of the pack. Raises InputError when they cannot be read."""
    try:
        return TypeAdapter(tuple[Figure, ...]).validate_json(files.get(FIGURES, b""))
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(f"{FIGURES} is missing or not a list of figures") from error


def arena_figure(figures: tuple[Figure, ...]) -> float | None:
    """The measured arena in bytes, without margin; None when it was not measured."""
    values = [figure.value for figure in figures if figure.name == ARENA_FIGURE]
    if values and not 0 < values[0] < LARGEST_ARENA:
        raise InputError(f"{FIGURES} states an impossible arena")
    return values[0] if values else None


_Check = Callable[[Files, Manifest, Sidecar], list[str]]


def _line(
    name: str, check: _Check, files: Files, manifest: Manifest, sidecar: Sidecar, limit: str
) -> CheckLine:
    try:
        problems = check(files, manifest, sidecar)
    except InputError as error:
        problems = [error.message]
    return CheckLine(name, problems, "equal", limit)


def _sidecar_problems(files: Files, manifest: Manifest, sidecar: Sidecar) -> list[str]:
    model = files[manifest.model]
    problems = []
    if sidecar.model.file != manifest.model.rsplit("/", 1)[-1]:
        problems.append(f"{manifest.sidecar} describes {sidecar.model.file!r}")
    if sidecar.model.bytes != len(model):
        problems.append(f"{manifest.sidecar} states another size for {manifest.model}")
    if sidecar.model.sha256 != hashlib.sha256(model).hexdigest():
        problems.append(f"{manifest.sidecar} states another SHA-256 for {manifest.model}")
    if sidecar.target != manifest.target or sidecar.name != manifest.name:
        problems.append(f"{manifest.sidecar} states another name or format than the manifest")
    required = [CONTRACT, FIGURES, GOLDEN]
    if manifest.target in FIRMWARE_FORMATS:
        required += [MODEL_SOURCE, MODEL_HEADER, OP_RESOLVER]
    return problems + [f"{path} is missing" for path in required if path not in files]


def _contract_problems(files: Files, manifest: Manifest, sidecar: Sidecar) -> list[str]:
    try:
        contract = StftContract.model_validate_json(files.get(CONTRACT, b""))
    except (ValidationError, ValueError, RecursionError):
        return [f"{CONTRACT} is not a valid contract"]
    if contract == sidecar.contract:
        return []
    differing = [name for name, value in contract if value != getattr(sidecar.contract, name)]
    return [f"{CONTRACT} differs from the sidecar in {', '.join(differing)}"]


def _array_problems(files: Files, manifest: Manifest, sidecar: Sidecar) -> list[str]:
    source = files.get(MODEL_SOURCE, b"")
    start, end = source.find(b"{"), source.rfind(b"};")
    if not 0 <= start < end:
        return [f"{MODEL_SOURCE} holds no array"]
    digits = source[start + 1 : end].replace(b"0x", b"").replace(b",", b"")
    try:
        content = bytes.fromhex(digits.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return [f"{MODEL_SOURCE} holds something else than bytes"]
    return [] if content == files[manifest.model] else [f"{MODEL_SOURCE} holds another model"]


def _operator_problems(files: Files, manifest: Manifest, sidecar: Sidecar) -> list[str]:
    text = files.get(OP_RESOLVER, b"").decode("utf-8", "replace")
    found = tuple(line.strip() for line in text.splitlines() if line.startswith("resolver."))
    expected = resolver_lines(sidecar)
    return [] if found == expected else [f"{OP_RESOLVER} registers other operators"]


def _header_problems(files: Files, manifest: Manifest, sidecar: Sidecar) -> list[str]:
    arena = arena_figure(read_figures(files))
    expected = header_constants(sidecar, arena_constant(arena))
    text = files.get(MODEL_HEADER, b"").decode("utf-8", "replace")
    found = dict(re.findall(r"^#define (SORDINO_\S+) (\S.*)$", text, re.MULTILINE))
    names = sorted(set(found) ^ set(expected))
    names += [name for name in sorted(set(found) & set(expected)) if found[name] != expected[name]]
    return [f"{MODEL_HEADER} states another {name}" for name in names]
