"""A student with what its sidecar says of it, whichever road it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distill.bands import check_bands
from distill.checkpoint import Checkpoint
from distill.teachers.keys import digest, state_digest
from distill.teachers.module import code_digests
from export.importing.student import open_student
from export.students import Student, foreign_student, own_student
from runtime.artefact import sha256_of
from runtime.stft import StftContract


@dataclass(frozen=True)
class Trained:
    """``role`` names its files, ``preset`` the kind of network: a preset or a factory."""

    role: str
    preset: str
    contract: StftContract
    student: Student = field(repr=False)
    provenance: Mapping[str, str] = field(default_factory=dict, repr=False)


def of_checkpoint(checkpoint: Checkpoint) -> Trained:
    """One of sordino's own networks. Raises InputError where it cannot be exported."""
    record = checkpoint.record
    check_bands(checkpoint.network.config.bands, record.contract)
    provenance = {**record.provenance, "checkpoint_sha256": checkpoint.sha256}
    student = own_student(checkpoint.network)
    return Trained(record.role, record.preset, record.contract, student, provenance)


def of_factory(factory: str, weights: Path | None, contract: StftContract) -> Trained:
    """The student that ``package.module:factory`` builds, filled with a .safetensors file.

    Raises InputError where it is not a student of the contract's features, Uncovered for an
    operator that cannot be exported.
    """
    network = open_student(factory, weights, contract.bins)
    provenance = {
        "factory": factory,
        "code_sha256": digest(code_digests(network)),
        "state_sha256": state_digest(network.state_dict()),
    }
    if weights is not None:
        provenance["weights_sha256"] = sha256_of(weights)
    student = foreign_student(network, contract.bins)
    return Trained("student", factory, contract, student, provenance)
