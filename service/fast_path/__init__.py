"""Simple requests from their bytes to the bytes of their answer in one compiled call."""
