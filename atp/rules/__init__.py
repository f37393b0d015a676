"""The rules of availability in Python, one pair at a time: the reference of every kernel."""
