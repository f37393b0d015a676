"""Validated tables to the arrays of a snapshot."""
