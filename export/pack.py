"""Packing: everything a firmware team needs, in one folder or zip that can be checked offline."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from export.pack_documents import licence, licences, readme
from export.pack_golden import GoldenSignal, golden_files, held_out_signal
from export.pack_sources import model_header, model_source, op_resolver
from runtime.artefact import Artefact, load_artefact, sidecar_path, write_atomically
from runtime.figures import ARENA_FIGURE, Figure
from runtime.pack import is_pack
from runtime.pack_format import (
    CONTRACT,
    FIGURES,
    FIRMWARE_FORMATS,
    MANIFEST,
    MODEL_HEADER,
    MODEL_SOURCE,
    OP_RESOLVER,
    Manifest,
    PackFile,
    Role,
    archive,
    arena_constant,
    canonical_json,
)
from runtime.profiling.arena import arena_figures
from runtime.profiling.exact import exact_figures
from runtime.profiling.needs_of import judge
from targets.catalog import load_target, usual_devices
from targets.errors import InputError
from targets.fit import FitReport
from targets.schema import Target

ZIP_SUFFIX = ".zip"
CHECKPOINT = "checkpoint_sha256"  # in the provenance of a sidecar
_ROLES: dict[str, Role] = {
    "c/": "source",
    "golden/": "golden",
    "fit/": "fit",
    CONTRACT: "contract",
    FIGURES: "figures",
    "licences.json": "licence",
    "LICENSE": "licence",
    "README.md": "readme",
}


@dataclass(frozen=True)
class PackSummary:
    """What was written: its manifest, the verdict per target, and the arena to reserve.

    ``arena_bytes`` includes the margin and is None where it could not be measured.
    """

    manifest: Manifest
    fits: tuple[FitReport, ...]
    arena_bytes: int | None


def write_pack(
    artefact: Artefact,
    destination: Path,
    *,
    targets: Sequence[Target] | None = None,
    figures: Sequence[Figure] = (),
    signal: GoldenSignal | None = None,
    data: str | None = None,
) -> PackSummary:
    """Write the pack of an artefact to a folder, or to a zip when the name ends in ``.zip``.

    ``targets`` are those to judge, by default all devices and the artefact's own format;
    ``figures`` are added to those known here; ``signal`` feeds the golden vectors, by default
    held-out noisy speech of ``data``. The same inputs give the same bytes. Nothing is left behind
    when it fails, and what was there stays.

    Raises InputError when ``destination`` holds anything that is not a pack, or the artefact
    cannot be packed; EngineMissing without a reference engine for its format.
    """
    _check_destination(destination)
    if artefact.sidecar.sources:
        raise InputError(
            "A pack is made of a TFLite or ONNX model, and this one is C.",
            hint="Pack the TFLite model it came from, and hand over the folder of the C beside it.",
        )
    chosen = signal or held_out_signal(artefact.sidecar.contract, data)
    golden, files = golden_files(artefact, chosen)
    known = [*exact_figures(artefact.sidecar), *arena_figures(artefact)[0]]
    arena = next((figure for figure in known if figure.name == ARENA_FIGURE), None)
    arena_bytes = arena_constant(arena.value if arena else None)
    chosen_targets = _distinct(targets or _default_targets(artefact.sidecar.target))
    reports = [judge(artefact.sidecar, known, target) for target in chosen_targets]
    has_sources = artefact.sidecar.target in FIRMWARE_FORMATS
    files |= _model_files(artefact)
    if has_sources:
        files |= _source_files(artefact, arena_bytes)
    names = {figure.name for figure in known}
    known += [figure for figure in figures if figure.name not in names]
    files |= {
        CONTRACT: canonical_json(artefact.sidecar.contract),
        FIGURES: canonical_json([figure.model_dump(mode="json") for figure in known]),
        "README.md": readme(
            artefact.sidecar, golden.frames, golden.tolerance, has_sources=has_sources
        ),
        "LICENSE": licence(),
        "licences.json": licences(artefact.sidecar),
    }
    files |= {f"fit/{report.target}.json": _report_json(report) for report in reports}
    manifest = _manifest(artefact, files)
    files[MANIFEST] = canonical_json(manifest)
    if destination.suffix.lower() == ZIP_SUFFIX:
        write_atomically(destination, archive(files))
    else:
        _write_folder(destination, files)
    return PackSummary(manifest, tuple(reports), arena_bytes)


def read_figures_file(path: Path) -> tuple[Figure, ...]:
    """The figures in a JSON file: a list of them, or an object with such a list as ``figures``.

    Raises InputError when there are none.
    """
    try:
        record = json.loads(path.read_bytes())
        listed = record["figures"] if isinstance(record, dict) else record
        return tuple(Figure.model_validate(entry) for entry in listed)
    except OSError as error:
        raise InputError(f"Cannot read {path}.", hint="Name an existing file.") from error
    except (ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} holds no figures.", hint="`sordino profile --json` writes them."
        ) from error


def _default_targets(artefact_format: str) -> list[Target]:
    return [load_target(artefact_format), *usual_devices()]


def _distinct(targets: Sequence[Target]) -> list[Target]:
    """Each target once; two that share a name would share a file."""
    by_name = {target.name: target for target in targets}
    for target in targets:
        if by_name[target.name] != target:
            raise InputError(
                f"Two different targets are called {target.name!r}.", hint="Rename one of them."
            )
    return list(by_name.values())


def _check_destination(destination: Path) -> None:
    if not destination.parent.is_dir():
        raise InputError(f"There is no folder {destination.parent}.", hint="Create it first.")
    if not destination.name:
        raise InputError(f"{destination} names no pack.", hint="Give a new folder or .zip.")
    as_zip = destination.suffix.lower() == ZIP_SUFFIX
    if not destination.exists() and not destination.is_symlink():
        return
    if destination.is_dir() and not as_zip and not any(destination.iterdir()):
        return
    if destination.is_symlink() or destination.is_dir() == as_zip or not is_pack(destination):
        raise InputError(
            f"{destination} exists and is not a pack; it is left as it is.",
            hint="Choose another name, or move it away.",
        )


def _model_files(artefact: Artefact) -> dict[str, bytes]:
    """The artefact and, where it lies beside it, the ONNX model of the same checkpoint."""
    files = {}
    for chosen in (artefact, _onnx_sibling(artefact)):
        if chosen is not None:
            files[f"model/{chosen.path.name}"] = chosen.path.read_bytes()
            beside = sidecar_path(chosen.path)
            files[f"model/{beside.name}"] = beside.read_bytes()
    return files


def _onnx_sibling(artefact: Artefact) -> Artefact | None:
    wanted = artefact.sidecar
    if artefact.path.suffix == ".onnx":
        return None
    for path in sorted(artefact.path.parent.glob("*.onnx")):
        try:
            sibling = load_artefact(path)
        except InputError:
            continue
        stated = sibling.sidecar
        same_student = stated.network == wanted.network and stated.contract == wanted.contract
        if same_student and stated.provenance.get(CHECKPOINT) == wanted.provenance.get(CHECKPOINT):
            return sibling
    return None


def _source_files(artefact: Artefact, arena_bytes: int | None) -> dict[str, bytes]:
    return {
        MODEL_SOURCE: model_source(artefact.path.read_bytes()),
        MODEL_HEADER: model_header(artefact.sidecar, arena_bytes),
        OP_RESOLVER: op_resolver(artefact.sidecar),
    }


def _report_json(report: FitReport) -> bytes:
    return canonical_json({**report.model_dump(mode="json"), "verdict": report.verdict})


def _manifest(artefact: Artefact, files: Mapping[str, bytes]) -> Manifest:
    model, beside = f"model/{artefact.path.name}", f"model/{sidecar_path(artefact.path).name}"
    try:
        records = tuple(
            PackFile(
                path=path,
                role=_role(path),
                bytes=len(files[path]),
                sha256=hashlib.sha256(files[path]).hexdigest(),
            )
            for path in sorted(files)
        )
        draft = Manifest(
            name=artefact.sidecar.name,
            target=artefact.sidecar.target,
            model=model,
            sidecar=beside,
            tools=dict(artefact.sidecar.tools),
            files=records,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{artefact.path.name} cannot be packed: {first['msg']} ({first.get('input')!r})."[
                :300
            ],
            hint="Use letters, digits, points, hyphens and underscores in its names.",
        ) from error
    return draft.model_copy(update={"digest": draft.expected_digest()})


def _role(path: str) -> Role:
    if path.startswith("model/"):
        return "sidecar" if path.endswith(".json") else "model"
    folder, slash, _ = path.partition("/")
    return _ROLES[folder + slash]


def _write_folder(destination: Path, files: Mapping[str, bytes]) -> None:
    """Build the folder under another name beside ``destination``, then put it in its place."""
    building = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    replaced = destination.with_name(f".{destination.name}.{os.getpid()}.old")
    try:
        for path in _manifest_last(files):
            target = building / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files[path])
        if destination.exists():
            os.rename(destination, replaced)
        os.rename(building, destination)
    except BaseException as error:
        if replaced.exists() and not destination.exists():
            os.rename(replaced, destination)
        if isinstance(error, OSError):
            error.filename = str(destination)  # a full disk names nothing of itself
        raise
    finally:
        for leftover in (building, replaced):
            if destination.exists() or leftover == building:
                with suppress(FileNotFoundError):
                    shutil.rmtree(leftover)


def _manifest_last(files: Iterable[str]) -> list[str]:
    return sorted(files, key=lambda path: (path == MANIFEST, path))
