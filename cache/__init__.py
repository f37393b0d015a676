"""State shared by servers and across restarts: one small protocol, implemented by SQLite (embedded) and by Redis."""
