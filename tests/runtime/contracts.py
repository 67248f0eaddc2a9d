"""Contracts that hypothesis draws: any hop, overlap, windows and zero padding."""

from __future__ import annotations

from hypothesis import strategies as st

from runtime.stft import CONTRACTS, StftContract


@st.composite
def contracts(draw: st.DrawFn) -> StftContract:
    hop, overlap = draw(st.integers(1, 96)), draw(st.integers(2, 6))
    synthesis = hop * (overlap + (hop * overlap) % 2)
    more = draw(st.sampled_from([0, 0, 1, 2, 37, 64, 200]))
    return StftContract(
        window="asymmetric_sqrt_hann" if more else "sqrt_hann_periodic",
        window_length=synthesis + more,
        hop=hop,
        synthesis_length=synthesis,
        fft_size=synthesis + more + draw(st.sampled_from([0, 0, 1, 60])),
    )


ANY = st.one_of(st.sampled_from(list(CONTRACTS.values())), contracts())
