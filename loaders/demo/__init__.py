"""The made-up distributor of `pricegrid demo`."""
