"""What speaks HTTP/2: grpcio, or uvloop and libnghttp2. Both call the same handlers."""
