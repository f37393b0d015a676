"""Traces: which calls of an exchange took how long, as spans for OpenTelemetry."""
