"""Nightly batch: tables of ERP exports in, an immutable snapshot out (design sections 4 and 7)."""
