"""Snapshots on disk: written whole, verified when read, activated in one step."""
