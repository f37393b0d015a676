"""The rim of Pricegrid: gRPC server, workers and the `pricegrid` command; everything is wired together here.

Read in this order, following a request: `wire` (bytes to a query), `pricing_service` (a query answered from one
snapshot), `handlers` (the gRPC side: errors, overload, metrics), `snapshots` (which snapshot answers, and the swap),
`worker` (one serving process), `supervisor` (all of them), `cli` (the command).
"""
