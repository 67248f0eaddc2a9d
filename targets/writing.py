"""From a target to the text of its profile, and the template of a profile still to be written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from targets.schema import Budget, DeviceClass, MemoryKind, Source, Target

FILL = "fill in"  # marks what a template leaves to its user


def profile_text(target: Target, comments: Mapping[str, str] | None = None) -> str:
    """The TOML text of ``target``; reading it gives ``target`` again. ``comments`` stand above the
    lines they name: a top-level field or, as "sources.title", one of a table."""
    content = target.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    fields = {"schema": target.schema_version, **content}
    return "\n".join(_table("", fields, comments or {})) + "\n"


def _table(path: str, fields: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    """Lines of a table: its own values first, for what follows a header belongs to that header."""
    nested = {key: value for key, value in fields.items() if _is_nested(value)}
    for key, value in fields.items():
        if key not in nested:
            if note := comments.get(f"{path}.{key}".lstrip(".")):
                yield f"# {note}"
            yield f"{key} = {_value(value)}"
    for key, value in nested.items():
        inner = f"{path}.{key}".lstrip(".")
        header = f"[{inner}]" if isinstance(value, dict) else f"[[{inner}]]"
        for part in [value] if isinstance(value, dict) else value:
            yield from ("", header, *_table(inner, part, comments))


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):  # TOML's escapes are JSON's; unprintable text the schema refuses
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return f"{value:_}"
    return repr(value).removesuffix(".0")


def template(name: str, base: Target | None, formats: tuple[str, ...]) -> str:
    """A device profile for a person to complete, commented. It is no valid profile until every
    ``fill in`` is done.

    Of ``base`` it takes what may well be the same: core, clock, memory, accelerators, budget and
    documented speeds, but no source, for a source speaks of the device it was written for, and
    nothing that was measured. ``formats`` are those that exist.
    """
    draft = _draft(name, base)
    comments = {
        "title": f"{FILL}: what the device is",
        "sources.title": f"{FILL}: the data sheet, page and revision",
        "class": f"{'' if base else f'{FILL}: '}one of {', '.join(get_args(DeviceClass))}",
        "formats": f"{'' if base else f'{FILL}: '}the preferred one first; there are "
        f"{', '.join(formats)}",
    }
    if base:
        head = [f"# Copied from {base.name}: change what differs, delete what you do not know."]
    else:
        head = ["# What you do not know stays out: sordino then says unknown and guesses nothing."]
    return "\n".join([*head, profile_text(draft, comments), *_examples(draft), ""])


def _draft(name: str, base: Target | None) -> Target:
    """An unfinished target, which is why it is built without validation."""
    common: dict[str, Any] = {"name": name, "title": ""}
    if base is None:
        empty: dict[str, Any] = {"kind": "device", "device_class": "", "formats": ()}
        return Target.model_construct(**common, **empty)
    documented = tuple(speed for speed in base.speeds if speed.basis == "documented")
    kept = base.model_copy(update={**common, "energy": None, "speeds": documented, "sources": ()})
    source = Source.model_construct(supports=kept.stated(), title="", url="", note="")
    return kept.model_copy(update={"sources": (source,) if kept.stated() else ()})


def _examples(draft: Target) -> Iterator[str]:
    """What the draft does not have, commented out."""
    yield "# More that a profile may say; take the # away. A figure needs a source: add its name"
    yield "# (core, memory.flash, budget.io_ms, energy, …) to `supports` of one of the [[sources]]."
    if not draft.core:
        yield from ("#", "# above the first [[table]]:", '# core = "cortex-m4"', "# clock_mhz = 64")
    if not draft.memory:
        yield from ("#", f"# kind is one of {', '.join(get_args(MemoryKind))};")
        yield "# holds any of code, weights, data (arena, states, stack, buffers)."
        yield from ("# [[memory]]", '# name = "flash"', '# kind = "flash"', "# bytes = 1_048_576")
        yield from ('# holds = ["code", "weights"]', "# read_mb_s = 100  # 10⁶ bytes a second")
    if not draft.accelerators:
        yield from ("#", "# [[accelerator]]", '# name = "ethos-u55-128"', "# clock_mhz = 400")
        yield "# macs_per_cycle = 128"
    if draft.budget == Budget():
        yield from ("#", "# [budget]  # limits of the product, not of the part")
        yield from ("# total_latency_ms = 10", "# io_ms = 2", "# weight_bytes = 500_000")
    yield from ("#", "# [energy]  # from the data sheet of this very part")
    yield from ("# active_ua_per_mhz = 50", "# volts = 3")
    yield from ("#", "# [[speed]]", '# format = "c-int8"', '# basis = "measured-device"')
    yield "# cycles_per_instruction = [1.1, 1.3]"
    if not draft.sources:
        yield from ("#", "# [[sources]]", '# supports = ["core"]', '# title = "its data sheet"')
        yield '# url = "https://example.com/datasheet.pdf"'
