"""From any torch student to the step graph, by torch.export."""
