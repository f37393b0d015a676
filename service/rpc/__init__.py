"""Calls: their context, the gRPC handlers and thread pools, the in-process channel, metrics."""
