"""The rules of availability in plain Python, one pair at a time: what every kernel must equal."""
