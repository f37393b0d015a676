// Asks a Pricegrid server for price, availability and promise date of a customer's lines, and prints the answer as JSON.
//
//   node quote.mjs [--currency EUR] [--branch HAM]... [--as-of 2026-03-02T12:00:00Z] ADDRESS CUSTOMER SKU[:QUANTITY[:UOM]]...
//
// CUSTOMER may be '' with a currency: what everyone pays. Micros and instants are 64-bit integers, beyond what a number of
// JavaScript holds exactly: they are strings here, and turned into BigInt by whoever calculates with them.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const PROTOS = fileURLToPath(new URL("../../proto", import.meta.url));
const MICROS_DIGITS = 6;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024; // 10,000 lines with long book and entry ids

const definition = protoLoader.loadSync("pricegrid/v1/quote_service.proto", {
  includeDirs: [PROTOS],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true, // fields marked `optional` stay unset: an unknown availability is not 0
});
const { QuoteService } = grpc.loadPackageDefinition(definition).pricegrid.v1;

/** A decimal text in 10^-6: "2.5" is "2500000". */
function micros(text) {
  const [, sign, whole, rest = ""] = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(text) ?? [];
  if (whole === undefined) throw new RangeError(`not a quantity of at most six decimals: ${text}`);
  return BigInt(sign + whole + rest.padEnd(MICROS_DIGITS, "0")).toString();
}

/** SKU[:QUANTITY[:UOM]] as a PriceLine. */
function line(text) {
  const [sku, quantity = "1", uom = ""] = text.split(":");
  return { sku, quantity_micros: micros(quantity), uom };
}

/** An ISO 8601 instant, to the millisecond, as a google.protobuf.Timestamp. */
function timestamp(text) {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new RangeError(`not an instant: ${text}`);
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: (ms - seconds * 1000) * 1_000_000 };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    currency: { type: "string", default: "" },
    branch: { type: "string", multiple: true, default: [] },
    "as-of": { type: "string" },
  },
});
const [address, customer_id, ...lines] = positionals;
if (!lines.length) {
  console.error("usage: quote.mjs [--currency C] [--branch B]... [--as-of INSTANT] ADDRESS CUSTOMER SKU[:QUANTITY[:UOM]]...");
  process.exit(2);
}

const request = {
  customer_id,
  lines: lines.map(line),
  currency: values.currency,
  branches: values.branch,
  ...(values["as-of"] && { as_of_time: timestamp(values["as-of"]) }),
};
const client = new QuoteService(address, grpc.credentials.createInsecure(), {
  "grpc.max_receive_message_length": ANSWER_BYTES_MAX,
});
client.QuoteLines(request, { deadline: Date.now() + 10_000 }, (error, answer) => {
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
  } else {
    console.log(JSON.stringify(answer, null, 2));
  }
  client.close();
});
