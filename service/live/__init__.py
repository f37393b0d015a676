"""Live state: events and reservations, made durable by one writer per host and shown to all its workers."""
