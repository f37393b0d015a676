"""The outer layer of Pricegrid: the gRPC server, its processes and the `pricegrid` command. All wiring is here.

Read in this order, following a request: `rpc` (gRPC: errors, load shedding, metrics), `codec` (bytes to a query and
back), `methods` (a query answered from one snapshot), `fast_path` (simple requests in one compiled call), `erp_overlay`
(prices and stock of an ERP), `live` (events and reservations), `process` (workers, supervisor, snapshot swaps), `cli`
(the command).
"""
