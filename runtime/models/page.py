"""``CARD.md``: a model's card for people, rendered from ``card.json`` and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from runtime.models.card import ALL, Condition, DataSource, ModelCard, Quality, QualityRow

COLUMNS: Final = (  # field of a row, title, decimals
    ("pesq_wb", "PESQ-WB", 3),
    ("stoi", "STOI", 3),
    ("estoi", "ESTOI", 3),
    ("si_sdr", "SI-SDR, dB", 2),
    ("dnsmos_sig", "DNSMOS SIG", 2),
    ("dnsmos_bak", "BAK", 2),
    ("dnsmos_ovrl", "OVRL", 2),
)
TITLES: Final[dict[Condition, str]] = {
    "noisy": "noisy input",
    "alone": "float, trained alone",
    "float": "float",
    "int8": "int8",
    "int16x8": "int16x8",
}
UNKNOWN: Final = "–"


def page(card: ModelCard) -> str:
    """The card as Markdown; the same card gives the same bytes."""
    parts = [
        [f"# {card.name}", "", card.purpose, ""],
        *([*_facts(card), ""], [*_files(card), ""]),
        *([*_quality(quality), ""] for quality in card.quality),
        [*_costs(card), ""],
        [*_training(card), ""],
        [*_data(card.data), ""],
        ["## Limits", "", *(f"- {limit}" for limit in card.limits)],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def delay(card: ModelCard) -> str:
    """The algorithmic delay in words."""
    if card.algorithmic_delay_ms is None:
        return "the whole recording"
    return f"{card.algorithmic_delay_ms:g} ms"


def number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _facts(card: ModelCard) -> Iterator[str]:
    contract = card.contract
    window, hop = (contract.milliseconds(n) for n in (contract.window_length, contract.hop))
    ahead = card.look_ahead_frames
    yield from _table(("", ""), "--", [
        ("role", card.role),
        ("parameters", f"{card.parameters:,}"),
        ("work", f"{card.macs_per_second / 1e6:.1f} MMAC/s"),
        ("algorithmic delay", delay(card)),
        ("look-ahead", "the whole recording" if ahead is None else f"{ahead} frames"),
        ("STFT", f"{contract.sample_rate / 1000:g} kHz, window {window:g} ms, hop {hop:g} ms"),
        ("licence of the weights", card.licence),
    ])  # fmt: skip


def _files(card: ModelCard) -> Iterator[str]:
    yield from ("## Files", "")
    rows = [(file.file, f"{file.bytes:,}", file.sha256) for file in card.files]
    yield from _table(("file", "bytes", "SHA-256"), "-r-", rows)


def _quality(quality: Quality) -> Iterator[str]:
    yield from (f"## Quality on {quality.test_set}", "")
    whole = [row for row in quality.rows if row.items == ALL]
    heads = ("", *(title for _, title, _ in COLUMNS), "items")
    rows = [(TITLES[row.condition], *_means(row), str(row.n)) for row in whole]
    yield from _table(heads, "-" + "r" * (len(heads) - 1), rows)
    groups = [row for row in quality.rows if row.items != ALL]
    if groups:
        heads = ("SNR", *heads)
        rows = [(row.items, TITLES[row.condition], *_means(row), str(row.n)) for row in groups]
        yield ""
        yield from _table(heads, "r-" + "r" * (len(heads) - 2), rows)
    tools = ", ".join(f"{tool} {version}" for tool, version in quality.tools.items())
    yield from ("", f"Means over items; denoised and scored with {tools}.")


def _means(row: QualityRow) -> tuple[str, ...]:
    return tuple(number(getattr(row, field), digits) for field, _, digits in COLUMNS)


def _costs(card: ModelCard) -> Iterator[str]:
    yield from ("## Cost", "")
    if not card.costs:
        yield "Instructions were not counted for this model."
        return
    rows = [
        (one.name, f"{one.value:,.0f} {one.unit}", one.provenance, one.tool, one.conditions)
        for one in card.costs
    ]
    yield from _table(("figure", "value", "class", "tool", "conditions"), "-r---", rows)


def _training(card: ModelCard) -> Iterator[str]:
    made = card.training
    yield from ("## Training", "")
    rows = [
        ("recipe", f"{made.recipe}, SHA-256 {made.recipe_sha256}"),
        ("seed", str(made.seed)),
        ("method", made.method),
    ]
    if made.teacher is not None:
        rows.append(("teacher", f"{made.teacher}, SHA-256 {made.teacher_sha256}"))
    yield from _table(("", ""), "--", rows)


def _data(data: Sequence[DataSource]) -> Iterator[str]:
    yield from ("## Data", "")
    rows = [
        (one.name, one.kind, number(one.hours, 2), one.licence, one.attribution, one.changes)
        for one in data
    ]
    heads = ("source", "kind", "hours", "licence", "attribution", "changes")
    yield from _table(heads, "--r---", rows)


def _table(heads: Sequence[str], alignment: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; of ``alignment`` each letter is a column, ``r`` one of numbers."""
    rules = ["---:" if letter == "r" else "---" for letter in alignment]
    for row in (heads, rules, *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
