"""What carries a call: its context, the gRPC handlers and thread pools, the in-process channel, metrics."""
