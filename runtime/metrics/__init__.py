"""Quality of an estimate against its reference, and of the estimate alone.

Every number comes from the package its authors or the field use. Where one is not installed, or
cannot judge a signal, the score is None: never a number that was not measured.
"""

from runtime.metrics.hearing import Audiogram, open_audiogram
from runtime.metrics.intrusive import SI_SDR_LIMIT_DB, estoi, pesq_wb, si_sdr, stoi
from runtime.metrics.scores import (
    BASIC,
    METRICS,
    Column,
    Metric,
    Scores,
    choose_metrics,
    columns_of,
    mean_scores,
    metric_versions,
)
from runtime.metrics.scoring import Pair, score, score_many, score_stream, scoring_processes

__all__ = [
    "BASIC",
    "METRICS",
    "SI_SDR_LIMIT_DB",
    "Audiogram",
    "Column",
    "Metric",
    "Pair",
    "Scores",
    "choose_metrics",
    "columns_of",
    "estoi",
    "mean_scores",
    "metric_versions",
    "open_audiogram",
    "pesq_wb",
    "score",
    "score_many",
    "score_stream",
    "scoring_processes",
    "si_sdr",
    "stoi",
]
