"""The rim of Pricegrid: gRPC server, workers and the `pricegrid` command; everything is wired together here.

Read in this order, following a request: `rpc` (the gRPC side: errors, overload, metrics), `codec` (bytes to a query),
`methods` (a query answered from one snapshot), `fast_path` (simple requests in one compiled call), `live` (events and
reservations), `process` (workers, their supervisor, snapshots and swaps), `cli` (the command).
"""
