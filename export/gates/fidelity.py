"""Gate ``quantized-versus-float``: quantization costs next to nothing that anybody can hear.

Several measures together: PESQ alone has passed broken int8 models.
"""

from __future__ import annotations

from typing import Literal

from export.quality import Comparison
from runtime.artefact import GateResult
from runtime.metrics import metric_versions

NAME = "quantized-versus-float"
# Healthy models were measured at 27 to 39 dB, one whose ranges clip peaks by half at 21.5 dB.
LEAST_SNR_DB = 22.0
LARGEST_SI_SDR_DROP_DB = 0.3
LARGEST_PESQ_DROP = 0.05
LIMIT = (
    f"SNR ≥ {LEAST_SNR_DB:g} dB, SI-SDR drop ≤ {LARGEST_SI_SDR_DROP_DB:g} dB and above noisy, "
    f"PESQ drop ≤ {LARGEST_PESQ_DROP:g}"
)


def quantized_versus_float(comparison: Comparison) -> GateResult:
    """Judge a comparison on held-out mixtures. Unavailable where PESQ could not be measured."""
    findings: list[str] = []
    parts = [f"SNR {comparison.snr_db:.1f} dB"]
    if not comparison.snr_db >= LEAST_SNR_DB:
        findings.append("the quantized output is far from the float output")
    noisy, one, other = comparison.noisy, comparison.float32, comparison.quantized
    if noisy.si_sdr is None or one.si_sdr is None or other.si_sdr is None:
        findings.append("SI-SDR could not be measured: the held-out speech is silent")
    else:
        drop = one.si_sdr - other.si_sdr
        parts.append(f"SI-SDR {other.si_sdr:.2f} dB ({-drop:+.2f}, noisy {noisy.si_sdr:.2f})")
        if not drop <= LARGEST_SI_SDR_DROP_DB:
            findings.append("SI-SDR drops too far")
        if not other.si_sdr > noisy.si_sdr:
            findings.append("the quantized output is no better than the noisy input")
    if one.pesq_wb is not None and other.pesq_wb is not None:
        drop = one.pesq_wb - other.pesq_wb
        parts.append(f"PESQ {other.pesq_wb:.2f} ({-drop:+.2f})")
        if not drop <= LARGEST_PESQ_DROP:
            findings.append("PESQ drops too far")
    measured = one.pesq_wb is not None and other.pesq_wb is not None
    verdict: Literal["pass", "fail", "unavailable"] = "pass" if measured else "unavailable"
    if not measured:
        installed = metric_versions()["pesq"] != "not installed"
        parts.append("PESQ could judge no mixture" if installed else "PESQ not installed")
    return GateResult(
        name=NAME,
        measured=", ".join(parts),
        limit=LIMIT,
        verdict="fail" if findings else verdict,
        detail="; ".join(findings)
        or f"means over {comparison.items} held-out mixtures; "
        f"least SNR of one {comparison.worst_snr_db:.1f} dB",
    )
