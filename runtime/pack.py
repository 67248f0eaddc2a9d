"""Checking a pack offline: every byte accounted for, every part consistent with the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from runtime.artefact import GateResult
from runtime.pack_checks import arena_figure, check_contents, read_figures
from runtime.pack_format import (
    FIRMWARE_FORMATS,
    MANIFEST,
    Manifest,
    archive,
    arena_constant,
    canonical_json,
)
from runtime.pack_reading import PackContents, read_pack
from runtime.pack_replay import replay_in_child
from targets.errors import InputError

LINES_NAMED = 8  # of what is wrong in one gate


def verify_pack(path: Path) -> list[GateResult]:
    """Re-check a pack, folder or zip, without a network and without unpacking it.

    The manifest, every size and SHA-256, missing and extra files, the sidecar, the contract, the
    C sources, the arena constant and the golden vectors, which are replayed on an engine. When
    the files are not those of the manifest, the checks of their content are not run.

    Raises InputError when ``path`` is no pack at all.
    """
    contents = read_pack(path)
    results = [_container_gate(contents)] if contents.container is not None else []
    manifest = _manifest_or_reason(contents.files.get(MANIFEST, b""))
    if isinstance(manifest, str):
        return [*results, *_not_run_after(gate("pack-manifest", [manifest], "", _MANIFEST_LIMIT))]
    results.append(gate("pack-manifest", [], f"{len(manifest.files)} files", _MANIFEST_LIMIT))
    files = _files_gate(contents, manifest)
    if files.verdict == "fail":
        return [*results, *_not_run_after(files)]
    checked = check_contents(contents.files, manifest)
    results += [files, *(gate(*line) for line in checked)]
    if manifest.target in FIRMWARE_FORMATS:
        results.append(_arena_gate(contents))
    if any(result.verdict == "fail" for result in results):
        return [*results, unavailable("pack-golden", "the model is not run: see above")]
    return [*results, replay_in_child(contents.files, manifest)]


_MANIFEST_LIMIT = "canonical, its digest equal"


def is_pack(path: Path) -> bool:
    """Whether ``path`` holds a pack, intact or not: what may be replaced by a newer one."""
    try:
        contents = read_pack(path)
    except InputError:
        return False
    return b'"sordino-pack/' in contents.files.get(MANIFEST, b"")


def gate(name: str, problems: list[str], measured: str, limit: str) -> GateResult:
    """A passed gate, or a failed one that names its first problems."""
    if not problems:
        return GateResult(name=name, measured=measured, limit=limit, verdict="pass")
    more = len(problems) - LINES_NAMED
    named = problems[:LINES_NAMED] + ([f"and {more} more"] if more > 0 else [])
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return GateResult(
        name=name, measured=count, limit=limit, verdict="fail", detail="; ".join(named)
    )


def unavailable(name: str, reason: str) -> GateResult:
    return GateResult(name=name, measured="not run", limit="", verdict="unavailable", detail=reason)


def _not_run_after(failed: GateResult) -> list[GateResult]:
    return [failed, unavailable("pack-contents", f"not checked after {failed.name} failed")]


def _container_gate(contents: PackContents) -> GateResult:
    """A zip must be byte for byte the one sordino writes from the same files."""
    container = contents.container or b""
    expected = archive(contents.files)
    problems = []
    if expected != container and not contents.refused:
        pairs = enumerate(zip(expected, container, strict=False))
        shorter = min(len(expected), len(container))
        where = next((index for index, (left, right) in pairs if left != right), shorter)
        problems.append(
            f"the zip differs from the one sordino writes from byte {where} on "
            "(packed again by another tool? unpack it and verify the folder)"
        )
    return gate(
        "pack-container", [*contents.refused, *problems], f"{len(container)} bytes", "canonical"
    )


def _manifest_or_reason(text: bytes) -> Manifest | str:
    """The manifest, or what is wrong with it."""
    try:
        manifest = Manifest.model_validate_json(text)
        if canonical_json(manifest) != text:
            return f"{MANIFEST} is not in canonical form: it was altered"
        if manifest.digest != manifest.expected_digest():
            return f"{MANIFEST} does not have the digest it states: it was altered"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{MANIFEST} is not a valid manifest: {where}: {first['msg']}"[:300]
    except (ValueError, RecursionError):
        return f"{MANIFEST} is not a valid manifest"
    return manifest


def _arena_gate(contents: PackContents) -> GateResult:
    """Whether the arena was measured at all; pack-header compares the constant with the figure."""
    try:
        measured = arena_figure(read_figures(contents.files))
    except InputError as error:
        return gate("pack-arena", [error.message], "", "measured")
    if measured is None:
        return unavailable("pack-arena", "the arena was not measured when the pack was made")
    reserved = arena_constant(measured)
    return gate("pack-arena", [], f"{measured:.0f} bytes, {reserved} reserved", "measured")


def _files_gate(contents: PackContents, manifest: Manifest) -> GateResult:
    refused = [] if contents.container is not None else list(contents.refused)
    problems = refused + _differences(contents.files, manifest)
    total = sum(file.bytes for file in manifest.files)
    return gate("pack-files", problems, f"{total} bytes", "every size and SHA-256 equal")


def _differences(files: Mapping[str, bytes], manifest: Manifest) -> list[str]:
    """What distinguishes the files from those the manifest lists."""
    problems = []
    for record in manifest.files:
        content = files.get(record.path)
        if content is None:
            problems.append(f"{record.path} is missing")
        elif len(content) != record.bytes:
            problems.append(f"{record.path} has {len(content)} bytes instead of {record.bytes}")
        elif hashlib.sha256(content).hexdigest() != record.sha256:
            problems.append(f"{record.path} was altered (SHA-256 differs)")
    listed = {record.path for record in manifest.files} | {MANIFEST}
    problems += [f"{path} is not in the manifest" for path in sorted(set(files) - listed)]
    return problems
