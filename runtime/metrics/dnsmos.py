"""DNSMOS P.835: what listeners would say of a signal, judged without a reference.

Reddy et al., "DNSMOS P.835", ICASSP 2022. The network and its published mapping are those of the
package ``speechmos`` (not the personalised ones). It is run here rather than by the package, which
imports librosa and also computes P.808; a test holds both to the same numbers.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.metrics.intrusive import AudioArray

if TYPE_CHECKING:
    import onnxruntime

RATE = 16_000
SEGMENT = 144_160  # samples, 9.01 s: what the network takes

# Raw output → MOS, highest power first: signal, background, overall.
_MAPPINGS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


def dnsmos(estimate: AudioArray, rate: int = RATE) -> tuple[float, float, float] | None:
    """(SIG, BAK, OVRL) of a signal ``[samples]``, each 1–5; None if not installed or silent.

    Signals shorter than 9.01 s are repeated, longer ones judged second by second and averaged.
    Samples beyond full scale are clipped, as a file of integers would.
    """
    model = model_file()
    if model is None or rate != RATE or not np.any(estimate):
        return None
    session = _session(model)
    signal = np.clip(np.asarray(estimate, dtype=np.float32), -1.0, 1.0)
    while len(signal) < SEGMENT:
        signal = np.concatenate((signal, signal))
    raw = [_judge(session, segment) for segment in _segments(signal)]
    judged = [[np.polyval(m, value) for m, value in zip(_MAPPINGS, r, strict=True)] for r in raw]
    sig, bak, ovrl = np.mean(judged, axis=0)
    return float(sig), float(bak), float(ovrl)


def model_file() -> Path | None:
    """The network inside the installed package, None where it is not installed."""
    found = importlib.util.find_spec("speechmos")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "dnsmos_models" / "sig_bak_ovr.onnx"
        if path.is_file():
            return path
    return None


def _segments(signal: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Pieces of 9.01 s that start a second apart, counted as the package counts them."""
    number = int(np.floor(len(signal) / RATE) - SEGMENT / RATE) + 1
    pieces = [signal[index * RATE : index * RATE + SEGMENT] for index in range(number)]
    return [piece for piece in pieces if len(piece) == SEGMENT]


def _judge(
    session: onnxruntime.InferenceSession, segment: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    output = session.run(None, {"input_1": segment[np.newaxis]})[0]
    return np.asarray(output[0], dtype=np.float64)


@cache
def _session(model: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order on every machine
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
