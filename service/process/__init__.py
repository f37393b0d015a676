"""The processes of a server: supervisor, workers, how snapshots are opened and swapped, and kernels compiled first."""
