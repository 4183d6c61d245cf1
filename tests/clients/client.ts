// Asks a gateway through a client made from its document; compiled strictly, so what it reads has to be there.
import createClient from "openapi-fetch";
import type { paths } from "./gateway.js";

const [baseUrl, key] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

const { data, error } = await client.POST("/locate", {
  body: { device: { imei: "990001123456782", mdn: "5085550101" }, maxAge: null },
});
if (error) throw new Error(error.detail);
const latitude: number = data.location.latitude;

const refused = await client.POST("/locate", { body: { device: { imei: "1" } } });
const code: "INVALID_ARGUMENT" | "INTERNAL" | undefined =
  refused.error?.code === "INVALID_ARGUMENT" ? refused.error.code : undefined;

const reports = await client.GET("/reports", { params: { query: { imei: "990001123456782", limit: 1 } } });
const stored: string | undefined = reports.data?.reports[0]?.location?.timestamp;

const batch = await client.POST("/locate/batch", {
  body: { requests: [{ id: "a", device: { imei: "990001123456782", mdn: "5085550101" } }] },
});
const located: number | undefined = batch.data?.summary.located;

console.log(JSON.stringify({ latitude, timestamp: data.location.timestamp, code, stored, located }));
