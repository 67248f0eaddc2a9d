"""Mixtures per second, plain and with each way of changing them.

    python tests/benchmarks/mixing.py [--data DATA] [--rirs FOLDER] [--rooms 8] [--rounds 15]

Measures on the demo corpus, and on DATA where it is there. The kinds take turns, a batch of 16
two-second mixtures each, so that whatever else the machine does meets all of them alike; medians
over the rounds are printed, of the time on the clock and of the processor's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from distill.colouring import Clipping, Equalizer, Microphone
from distill.corpus import open_corpus
from distill.mixing import Mixer, MixSettings
from distill.rooms import Rooms

BATCH = 16
BATCHES = 2  # the same again in every round: all recordings are decoded after the first


def kinds(rirs: Path | None, rooms: Rooms) -> dict[str, MixSettings]:
    """Settings by name; measured responses only where there are some."""
    always: dict[str, MixSettings] = {
        "defaults": MixSettings(),
        "gaps": MixSettings(gap_probability=1.0),
        "clipping": MixSettings(clipping=Clipping(probability=1.0)),
        "microphone": MixSettings(microphone=Microphone(probability=1.0)),
        "equalizer": MixSettings(equalizer=Equalizer(probability=1.0)),
        "simulated rooms": MixSettings(reverb_probability=1.0, rooms=rooms),
        "everything": MixSettings(
            gap_probability=1.0,
            clipping=Clipping(probability=1.0),
            microphone=Microphone(probability=1.0),
            equalizer=Equalizer(probability=1.0),
            reverb_probability=1.0,
            rooms=rooms,
        ),
    }
    if rirs is not None:
        always["measured rooms"] = MixSettings(reverb_probability=1.0, rir_folder=rirs)
    return always


def measure(data: str, settings: dict[str, MixSettings], rounds: int) -> None:
    corpus = open_corpus(data)
    mixers = {name: Mixer(corpus, "train", chosen, 0) for name, chosen in settings.items()}
    clock: dict[str, list[float]] = {name: [] for name in mixers}
    processor: dict[str, list[float]] = {name: [] for name in mixers}
    for turn in range(rounds + 1):
        for name, mixer in mixers.items():
            begun, busy = time.perf_counter(), time.process_time()
            for step in range(BATCHES):
                mixer.batch(step, BATCH)
            if turn:  # the first decodes
                clock[name].append((time.perf_counter() - begun) / BATCHES)
                processor[name].append((time.process_time() - busy) / BATCHES)
    print(f"{data}: {BATCH} mixtures of 2 s, medians of {rounds} rounds")
    print(f"{'':18}{'ms':>8}{'CPU ms':>8}{'mixtures/s':>12}{'per CPU s':>12}")
    for name in mixers:
        wall, cpu = statistics.median(clock[name]), statistics.median(processor[name])
        print(f"{name:18}{wall * 1e3:8.1f}{cpu * 1e3:8.1f}{BATCH / wall:12.0f}{BATCH / cpu:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--rirs", type=Path, default=Path("../shared/data/rir"))
    parser.add_argument("--rooms", type=int, default=8, help="how many to simulate")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    rirs = chosen.rirs if chosen.rirs.is_dir() else None
    settings = kinds(rirs, Rooms(count=chosen.rooms))
    for data in ("demo", chosen.data):
        if data == "demo" or Path(data).exists():
            measure(data, settings, chosen.rounds)


if __name__ == "__main__":
    main()
