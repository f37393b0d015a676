"""Snapshots in object storage: pushed by who loads, pulled by who serves (docs/scale.md)."""
