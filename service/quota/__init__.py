"""Quotas of callers: how many calls and lines a second, counted in memory that all workers of a host share."""
