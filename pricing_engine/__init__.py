"""The price domain: which price a customer's contract says, exactly, and why (docs/pricing.md, P1-P13).

Read in this order: `model` (the words and numbers), `reference` (the rules, one line at a time), `matrix` (the same
data as flat arrays), `kernel` (the rules over those arrays), `engine` (one request in, one dense answer out).
Nothing in here does I/O or knows the time of day: arrays and instants come in, arrays go out.
"""
