"""The processes of a server: supervisor and workers, opening and swapping snapshots, compiling kernels beforehand."""
