"""Simple requests from their bytes to the bytes of their response, in one compiled call."""
