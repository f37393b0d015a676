"""What the ERP says in real time, laid over the answers of the matrices; and what operators have flagged."""
