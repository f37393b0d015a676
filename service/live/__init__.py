"""Live state: events and reservations made durable by one writer a host, and shown to all its workers."""
