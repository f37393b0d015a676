"""Imported by the process that others are forked from (`forker`), and by no other: all that they run, and no thread."""

import gc
import os
import signal
from importlib import import_module

# Ctrl-C, or a signal to the whole group, means the supervisor: it has processes end in order, and learns from this one
# how each of them ended.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_IGN)
# numpy would start a thread for each other core, for what nothing here uses
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
for _module in ("process.worker", "process.verify", "process.warm_up", "fast_path.path", "live.writer"):
    import_module(f"pricegrid.service.{_module}")
# what needs no snapshot; with numba, its first kernel takes longer than a hundred more
import_module("pricegrid.service.process.warm_up").warm_live()
gc.freeze()  # a look through what stays would copy its pages into each process
