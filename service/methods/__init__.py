"""One module a service: bytes in, bytes out, answered from one snapshot; knows nothing of gRPC."""
