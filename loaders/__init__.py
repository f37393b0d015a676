"""Nightly batch: tables of ERP exports in, an immutable snapshot out (docs/dataset.md, docs/snapshot-format.md)."""
