"""The `pricegrid` command: one file a subcommand."""
