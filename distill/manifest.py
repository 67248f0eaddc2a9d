"""The manifest of a person's own recordings: what ``sordino data scan`` writes and corpora open."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.corpus import Clip, Kind, Split, split_groups
from runtime.artefact import sha256_of, write_atomically
from runtime.audio import AudioReader
from targets.errors import InputError

SCHEMA: Literal["sordino-manifest/1"] = "sordino-manifest/1"
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64")
VALID_SHARE, TEST_SHARE = 0.08, 0.08  # of speakers and of noise recordings
SHORTEST_SECONDS = 0.1  # less than this is a click, not a recording
BLOCK_FRAMES = 1 << 18

Progress = Callable[[int, int], None]  # files done, files in all


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Recording(_Record):
    """One file. ``path`` is relative to the manifest where the file lies below it."""

    path: str
    kind: Kind
    group: str  # speaker, or noise recording: never crosses a split
    type: str
    split: Split
    seconds: float = Field(gt=0.0)
    rate: int = Field(gt=0)
    channels: int = Field(gt=0)
    bytes: int = Field(gt=0)
    sha256: str
    licence: str


class Skipped(_Record):
    """A file that was found and cannot be used."""

    path: str
    reason: str


class Manifest(_Record):
    """Recordings with their splits. Unknown keys are errors, so typing mistakes do not pass."""

    schema_version: Literal["sordino-manifest/1"] = Field(SCHEMA, alias="schema")
    recordings: tuple[Recording, ...]
    skipped: tuple[Skipped, ...] = ()


def scan(
    speech: Path,
    noise: Path,
    output: Path,
    *,
    licence: str = "unknown",
    noise_licence: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Read every recording under two folders, decide the splits and write the manifest.

    A speaker is a first-level folder under ``speech``, or a file that lies directly in it; each
    noise file is a recording of its own, typed by its first-level folder. Files that cannot be
    used are listed as skipped. Raises InputError where a folder is missing or nothing is usable.
    """
    _check_folders(speech, noise, output)
    found: list[tuple[Kind, Path, Path]] = [("speech", speech, file) for file in _files(speech)]
    found += [("noise", noise, file) for file in _files(noise)]
    recordings: list[Recording] = []
    skipped: list[Skipped] = []
    licences = {"speech": licence, "noise": licence if noise_licence is None else noise_licence}
    for done, (kind, root, file) in enumerate(found, start=1):
        name = _written_path(file, output)
        try:
            recordings.append(_read(kind, root, file, name, licences[kind]))
        except InputError as error:
            skipped.append(Skipped(path=name, reason=error.message))
        progress(done, len(found))
    _check_usable(recordings, skipped, {"speech": speech, "noise": noise})
    manifest = Manifest(recordings=_split(recordings), skipped=tuple(skipped))
    _write(output, manifest)
    return manifest


def load_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises InputError where it is not one, naming the first wrong key."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{path} is not a manifest of recordings: {place}: {first['msg']}.",
            hint="Make one with `sordino data scan SPEECH_DIR NOISE_DIR -o manifest.json`.",
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read.", hint="Check its permissions.") from error


def manifest_clips(path: Path) -> list[Clip]:
    """Clips of a manifest. Raises InputError where files are gone or were replaced."""
    manifest = load_manifest(path)
    if not manifest.recordings:
        raise InputError(f"{path} lists no recordings.", hint="Scan the folders again.")
    _check_groups(path, manifest)
    clips = [
        Clip(
            name=recording.path,
            kind=recording.kind,
            group=recording.group,
            type=recording.type,
            duration=recording.seconds,
            split=recording.split,
            path=path.parent / recording.path,  # an absolute path stays what it is
            licence=recording.licence,
        )
        for recording in manifest.recordings
    ]
    gone = [clip.name for clip in clips if clip.path and not clip.path.is_file()]
    if gone:
        raise InputError(
            f"{len(gone)} of {len(clips)} recordings listed in {path} are gone, "
            f"the first is {gone[0]}.",
            hint="Bring them back, or scan again: `sordino data scan`.",
        )
    changed = [
        recording.path
        for recording in manifest.recordings
        if (path.parent / recording.path).stat().st_size != recording.bytes
    ]
    if changed:
        raise InputError(
            f"{len(changed)} recordings changed since {path} was written, "
            f"the first is {changed[0]}.",
            hint="Scan again: `sordino data scan`.",
        )
    return clips


def _check_folders(speech: Path, noise: Path, output: Path) -> None:
    for folder in (speech, noise):
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {what}.", hint="Name a folder of recordings.")
    first, second = speech.resolve(), noise.resolve()
    if first.is_relative_to(second) or second.is_relative_to(first):
        raise InputError(
            f"{speech} and {noise} overlap: noise would be taken for speech.",
            hint="Keep speech and noise in separate folders.",
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder.", hint="Name a file, such as manifest.json.")
    if not output.parent.is_dir():
        raise InputError(f"No folder {output.parent} to write to.", hint="Make it first.")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _read(kind: Kind, root: Path, file: Path, name: str, licence: str) -> Recording:
    """Read a file to its end: what is listed can be decoded and holds sound."""
    frames, sounds = 0, False
    with AudioReader(file) as reader:
        info = reader.info
        for block in reader.blocks(BLOCK_FRAMES):
            frames += len(block)
            sounds = sounds or bool(np.any(block))
    if not sounds:
        raise InputError(f"{file} is silent throughout.", hint="")
    if frames < SHORTEST_SECONDS * info.rate:
        raise InputError(f"{file} is shorter than {SHORTEST_SECONDS} s.", hint="")
    inside = file.relative_to(root)
    folder = inside.parts[0] if len(inside.parts) > 1 else None
    owner = folder if kind == "speech" and folder else inside.as_posix()
    return Recording(
        path=name,
        kind=kind,
        group=f"{kind}/{owner}",
        type="speech" if kind == "speech" else folder or "noise",
        split="train",
        seconds=frames / info.rate,
        rate=info.rate,
        channels=info.channels,
        bytes=file.stat().st_size,
        sha256=sha256_of(file),
        licence=licence,
    )


def _written_path(file: Path, manifest: Path) -> str:
    whole, home = file.resolve(), manifest.resolve().parent
    return (whole.relative_to(home) if whole.is_relative_to(home) else whole).as_posix()


def _check_usable(
    recordings: Sequence[Recording], skipped: Sequence[Skipped], folders: dict[Kind, Path]
) -> None:
    for kind, folder in folders.items():
        if any(recording.kind == kind for recording in recordings):
            continue
        if skipped:
            raise InputError(
                f"No usable recording in {folder}. {skipped[0].reason}",
                hint="wav, flac, ogg and mp3 are read, at any rate and number of channels.",
            )
        raise InputError(
            f"No recordings in {folder}.", hint=f"Looked for {', '.join(SUFFIXES)} at any depth."
        )


def _split(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Give every group its split. Equal files count as one group, wherever they lie."""
    groups = _joined_groups(recordings)
    splits: dict[str, Split] = {}
    for kind in ("speech", "noise"):
        names = [group for r, group in zip(recordings, groups, strict=True) if r.kind == kind]
        splits |= split_groups(names, VALID_SHARE, TEST_SHARE)
    return tuple(
        recording.model_copy(update={"split": splits[group], "group": group})
        for recording, group in zip(recordings, groups, strict=True)
    )


def _joined_groups(recordings: Sequence[Recording]) -> list[str]:
    """Group names, where groups that hold the same bytes take the name of the first of them."""
    name = {recording.group: recording.group for recording in recordings}

    def root(group: str) -> str:
        while name[group] != group:
            group = name[group]
        return group

    holder: dict[tuple[Kind, str], str] = {}
    for recording in recordings:
        first = root(holder.setdefault((recording.kind, recording.sha256), recording.group))
        other = root(recording.group)
        name[max(first, other)] = min(first, other)
    return [root(recording.group) for recording in recordings]


def _check_groups(path: Path, manifest: Manifest) -> None:
    """A manifest may be edited by hand: refuse a group in two splits."""
    places = {(recording.group, recording.split) for recording in manifest.recordings}
    counts = Counter(group for group, _ in places)
    crossing = sorted(group for group, count in counts.items() if count > 1)
    if crossing:
        raise InputError(
            f"In {path} the group {crossing[0]} is in more than one split.",
            hint="Put all its recordings into one split.",
        )


def _write(output: Path, manifest: Manifest) -> None:
    content = json.dumps(manifest.model_dump(by_alias=True), indent=1, ensure_ascii=False)
    try:
        write_atomically(output, (content + "\n").encode())
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({(error.strerror or str(error)).lower()}).",
            hint="Choose a folder you may write to.",
        ) from error
