"""What a load must pass before it is published, and what customers would see of it."""
