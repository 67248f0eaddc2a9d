"""Teachers of every kind: what a student is bound to, seen through one protocol."""
