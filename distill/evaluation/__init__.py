"""Scores of checkpoints, artefacts and recordings, always beside the noisy input."""

from distill.evaluation.candidates import (
    Candidate,
    Recordings,
    artefact_candidate,
    checkpoint_candidate,
    open_candidate,
    open_candidates,
)
from distill.evaluation.report import full_report, report
from distill.evaluation.scoring import NOISY, Row, evaluate

__all__ = [
    "NOISY",
    "Candidate",
    "Recordings",
    "Row",
    "artefact_candidate",
    "checkpoint_candidate",
    "evaluate",
    "full_report",
    "open_candidate",
    "open_candidates",
    "report",
]
