#!/bin/sh
# Writes the tables of docs/tutorial.md that speak of today into a directory: stock, receipts and feeds.
set -eu
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
soon=$(date -u -d '3 days' +%Y-%m-%d)

cat > "$1/stock.csv" << END
sku,branch,on_hand,as_of
BOLT-M8,HAM,1200,$now
BOLT-M8,MUC,300,$now
DRILL-8,HAM,6,$now
CABLE-3,HAM,500,$now
END

cat > "$1/receipts.csv" << END
sku,branch,quantity,expected_at,reference
BOLT-M8,MUC,2000,$soon,PO-1
DRILL-8,HAM,40,$soon,PO-2
END

cat > "$1/feeds.csv" << END
branch,source,as_of,complete,stale_after_min
HAM,erp,$now,true,1440
HAM,wms,$now,true,1440
HAM,transit,$now,true,1440
MUC,erp,$now,true,1440
MUC,wms,$now,true,1440
MUC,transit,$now,true,1440
END
