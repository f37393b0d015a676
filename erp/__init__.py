"""ERPs asked in real time for exceptions, and read at night: one protocol, adapters behind it, a guard around them."""
