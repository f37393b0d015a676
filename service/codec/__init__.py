"""Messages from bytes to the arguments of engines and back: by the protobuf runtime, or a kernel where that is slow."""
