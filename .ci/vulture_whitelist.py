"""What vulture takes for dead and is not, each with its reason. Never imported or run; `make lint` reads it.

Whatever is not listed is removed when its last user goes. What goes, goes from here too.
"""

# Called by somebody else's code, by name.
__getattr__  # Python asks modules
__dir__
PackageLocator  # numba looks for kernels with it, and asks it
_.get_cache_path
_.get_source_stamp
_.get_disambiguator
_.ensure_cache_path
_.find_spec  # the import system asks finders
_.from_function
_.trace  # __aexit__ is handed it
_.typing_context  # numba hands it to intrinsics
_.generic_resolve  # numba asks attribute templates
_LenOf  # and these, and their `generic`, for the type of an operation on a table
_ItemOf
_NewItemOf
_.generic
_.stream_unary  # grpc.Channel
_.redirect_request  # urllib asks it
_.version_string  # http.server asks it
_.address_family  # and socketserver this
_.List  # grpc.health.v1
request_iterator  # grpc passes it by name
_.unary_stream
_.stream_stream
_.subscribe
_.unsubscribe
_.intercept_unary_unary  # grpc.UnaryUnaryClientInterceptor
_.protocol_version  # http.server reads these of handlers and servers
_.log_message
_.handle_error
_.daemon_threads
_.block_on_close
_.request_queue_size
_.close_connection

# Set for somebody else's code to read.
_.experimental_thread_pool  # grpc.Server takes the pool from its handlers
_.writeable  # numpy refuses to write then
_.formatter_class  # argparse
_.mtime  # tarfile writes these
_.gname
_.uname
_.extraction_filter
_.autocommit  # psycopg
_.erp_age_ms  # fields of a message that is sent
_.wms_age_ms
_.transit_age_ms
_.salable  # Tryton's models, in examples/tryton/seed.py
_.sale_uom
_.suffix_code
_.sale_price_list
_.customer_currency
_.input_location
_.output_location
_.planned_date
_.effective_date

# Used by number or by name of a word in a file, not by name in code.
_.PURCHASE  # kinds of receipts
_.TRANSFER
_.ASN
_.MATRIX  # a price source of the wire
_.FIRST_BREAK  # what a book does below its minimum
_.FIELD_COUNT  # why a record of a file is set apart
OFFER_RANK  # where the row of an offer begins; its columns are numbered together
_.erp_allocation  # steps of a case of the shared files
_.set_on_hand
_.peak_memory_bytes  # of a report, which is printed whole
LOAD_1M  # sizes of benchmarks, chosen by name
LOAD_30M
QUOTES
QUOTES_TENTH
PEERS
PEERS_TENTH

# For users of the client, who are not in this repository; tests stand in for them.
_.retry_after_s

# Only tests look: what they prove can't be seen from outside.
_.events_read  # rows of an order book looked at: the cost of an event stays the same
_.trouble  # why a Redis is not used
pair_rows_of  # the rows that arrays of live pairs are made of
price_batch_checked  # the kernel with every index checked
check_bounds  # named in a script that a test starts
validate_delta  # a delta in memory
read_dataset  # a directory, without publishing it

# numba's compiler calls or reads them (columnar/dispatcher.py).
_._final_module
_._finalized
_._optimize_final_module
_.define_pipelines
_.rebuild
_.serialize_using_object_code
_.no_cfunc_wrapper
_.no_compile
_.no_cpython_wrapper
_.eof_received  # asyncio calls the methods of a protocol
_.connection_lost
_.pause_writing
_.get_buffer
_.buffer_updated
_.output_size  # aiohttp reads it
_.resume_writing

# llvmlite writes them into the code (service/process/kernel_extension.py).
_.linkage
_.visibility

# Of EDI: what answers orders and exports comes on top of it.
read_order
_.unit_code
_.branch_code

# Of dataclasses that commands print whole (loaders/objects/commands.py).
_.sent_objects
