"""The price domain: which price a customer's contract gives, exactly, and why (docs/pricing.md, P1-P14, P16-P20).

Read in this order: `model` (the words and numbers), `rules.reference` (one line at a time), `arrays.matrix` (the
same data as flat arrays), `kernels.price` (the rules over those arrays), `engine` (a request in, a dense answer out).
Nothing in here does I/O or knows the time of day: arrays and instants come in, arrays go out.
"""
