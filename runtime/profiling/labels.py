"""What artefacts are called where several are shown together."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.artefact import Artefact


def labels(artefacts: Sequence[Artefact]) -> list[str]:
    """What artefacts are called where several are compared: by their file, C by its folder, with
    the folder above where others are called alike."""
    places = [
        artefact.path.resolve().parent if artefact.sidecar.memory else artefact.path.resolve()
        for artefact in artefacts
    ]
    names = [place.name for place in places]
    return [
        f"{place.parent.name}/{place.name}" if names.count(place.name) > 1 else place.name
        for place in places
    ]
