"""What several servers and restarts share: one small protocol, embedded (SQLite) or Redis."""
