"""Which rows can be used, and why the others can't."""
