"""Between the bytes of messages and the values that engines take: the protobuf runtime, and kernels where it costs."""
