"""Orders checked against what the buyer expects: the rules (O1 to O10, docs/orders.md), pure and exact."""
