"""What both domains are built on: numba, memory, names, exact numbers, and how decimals and instants are written."""
