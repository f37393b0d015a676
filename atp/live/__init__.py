"""Live positions as arrays in shared memory, and the streams that most pairs have."""
