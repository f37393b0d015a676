"""One module per service: request bytes to response bytes, answered from one snapshot, without gRPC."""
