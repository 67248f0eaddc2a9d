"""Prepared recordings: a ``manifest.csv`` beside folders of 16 kHz speech and noise.

The columns used are path, kind, source, licence, speaker_or_noise_id, type and duration_s.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from distill.corpus import Clip, Kind, Split, split_groups
from targets.errors import InputError

COLUMNS = ("path", "kind", "source", "licence", "speaker_or_noise_id", "type", "duration_s")
VALID_SHARE = 0.08
# Two excerpts of one Freesound recording are told apart by a letter: fs122104A, fs122104B.
_EXCERPT = re.compile(r"^(fs\d+)[A-Z]$")


def find_listing(path: Path) -> Path:
    """The ``manifest.csv`` meant by a path: the file, its folder, or the parent of ``train``."""
    for candidate in (path, path / "manifest.csv", path / "train" / "manifest.csv"):
        if candidate.is_file() and candidate.suffix == ".csv":
            return candidate
    if not path.exists():
        raise InputError(f"No data at {path}.", hint="`sordino data scan` makes a manifest.")
    raise InputError(
        f"{path} is not a corpus: no manifest.csv and not a manifest written by sordino.",
        hint="Make one with `sordino data scan SPEECH_DIR NOISE_DIR -o manifest.json`.",
    )


def prepared_clips(listing: Path) -> list[Clip]:
    """Clips of a listing, with a validation split of speakers and of whole noise types.

    Speakers whose id is unknown form one group per source, kept for training. Raises InputError
    for missing columns or files that are gone.
    """
    rows = _read_rows(listing)
    missing = [row["path"] for row in rows if not (listing.parent / row["path"]).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} files listed in {listing} are gone, "
            f"the first is {missing[0]}.",
            hint="Bring the files back, or name the folder that holds them.",
        )
    groups = [_group(row) for row in rows]
    splits = _speech_splits(rows, groups) | _noise_splits(rows, groups)
    return [
        Clip(
            name=row["path"],
            kind=_kind(row),
            group=group,
            type=row["type"],
            duration=float(row["duration_s"]),
            split=splits[group],
            path=listing.parent / row["path"],
            licence=row["licence"],
        )
        for row, group in zip(rows, groups, strict=True)
    ]


def _read_rows(listing: Path) -> list[dict[str, str]]:
    with listing.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if absent:
            raise InputError(
                f"{listing} lacks the column {absent[0]}.",
                hint=f"Needed columns: {', '.join(COLUMNS)}.",
            )
        return list(reader)


def _kind(row: dict[str, str]) -> Kind:
    return "speech" if row["kind"] == "speech" else "noise"


def _group(row: dict[str, str]) -> str:
    identity = row["speaker_or_noise_id"]
    if row["kind"] == "speech":
        return f"speech/{row['source']}/{identity}"  # ids of different sources may coincide
    return f"noise/{whole_recording(identity)}"


def whole_recording(noise_id: str) -> str:
    """The id of the recording of which ``noise_id`` may be an excerpt."""
    excerpt = _EXCERPT.match(noise_id)
    return excerpt[1] if excerpt else noise_id


def _speech_splits(rows: list[dict[str, str]], groups: list[str]) -> dict[str, Split]:
    speech = [g for row, g in zip(rows, groups, strict=True) if row["kind"] == "speech"]
    unknown = {g for g in speech if "unknown" in g.rsplit("/", 1)[1]}
    known = [g for g in speech if g not in unknown]
    return {**split_groups(known, VALID_SHARE, 0.0), **dict.fromkeys(unknown, "train")}


def _noise_splits(rows: list[dict[str, str]], groups: list[str]) -> dict[str, Split]:
    """Hold out whole types; types that share a recording are held out together."""
    noise = [
        (g, row["type"]) for row, g in zip(rows, groups, strict=True) if row["kind"] != "speech"
    ]
    family = _families(noise)
    by_family = split_groups(list(family.values()), VALID_SHARE, 0.0)
    return {group: by_family[family[type_]] for group, type_ in noise}


def _families(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Type → the first type (by name) that it is linked to through shared groups."""
    pairs = list(pairs)
    family = {type_: type_ for _, type_ in pairs}
    changed = True
    while changed:
        changed = False
        least: dict[str, str] = {}
        for group, type_ in pairs:
            least[group] = min(least.get(group, family[type_]), family[type_])
        for group, type_ in pairs:
            if least[group] < family[type_]:
                family[type_] = least[group]
                changed = True
    return family
