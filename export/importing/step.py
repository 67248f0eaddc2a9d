"""A foreign student behind the canonical step interface: channels last, states as in its graph."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from export.importing.imported import StateLayout


class ForeignStep(nn.Module):
    """``features, *states`` to ``mask, *states`` in the shapes of the student's step graph."""

    def __init__(self, student: nn.Module, layouts: Sequence[StateLayout]) -> None:
        super().__init__()
        self.student = student
        self.layouts = tuple(layouts)

    def forward(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        theirs = (
            layout.from_graph(state) for layout, state in zip(self.layouts, states, strict=True)
        )
        mask, *after = self.student.step(features.permute(0, 3, 1, 2), *theirs)  # type: ignore[operator]
        ours = (layout.into_graph(state) for layout, state in zip(self.layouts, after, strict=True))
        return mask.permute(0, 2, 3, 1), *ours
