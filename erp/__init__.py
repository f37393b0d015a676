"""ERPs, asked in real time for exceptions and extracted at night: a protocol, its adapters, and a guard around them."""
