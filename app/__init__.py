"""The location gateway: one question, "where is this device?", and one answer, from whichever provider has it.

A query's way (`POST /locate`):

1. `server` reads the request from the socket; `api.middleware` authenticates the caller and counts the request.
2. `api.routes.locate` turns the body (`api.schemas`) into a `LocationQuery` (`model`).
3. `locate.Locate` checks what the caller may see (`access.permissions`), shares the work of identical queries
   (`locate.single_flight`), and asks `policy` which providers are candidates, in which order.
4. For each candidate: identifiers are completed (`directory`), stored fixes are looked up (`locate.known_fixes`), and
   the provider's `Locator` is called (`providers.<name>`, over `upstream`).
5. The `Fix` goes back as JSON; the report and the audit row are stored by `storage.writer` after the answer.

A callback's way (`POST /callbacks/{provider}/{token}`):

1. `server` reads it; a complete, small one takes the fast path (`server.fast_callbacks`), all others go through
   `api.webhook`. Both call `callbacks.ingest`.
2. `callbacks.tokens` finds the token's listener; the provider's `CallbackReader` checks the signature and decodes.
3. `storage.writer` commits the raw bytes and the reports together with those of other callbacks, in one statement.
4. Then 200 is sent. What could not be read is kept in quarantine, for `callbacks.replay`.

Every other route (`api.routes`) reads its parameters, calls one use case in the package of its capability (`reports`,
`callbacks`, `periodic`, `events`, `listeners`, `access`, ...), and renders what that returns. Routes import no
`storage`, and use cases no database driver. Reading waits for what this process has still to store, and audit rows are
written by `access.audit`.

Where to start reading: `model` and `provider` (the vocabulary), `reports.reader` and `locate.locate` (use cases),
`wiring` (how the parts are connected), `providers.thingspace.mapping` (a vendor's words into ours).

Glossary:

* query, evidence: the question, and the measurements that it offers to be located by.
* fix: a position with accuracy and time. Report: what a provider said about one device.
* doubtful: a fix that is stored, listed and flagged, and answers nothing (`plausibility`).
* provider: a positioning service. Candidate: a provider that may be asked about a query, in its turn.
* account: the provider's billing account. Reach: the accounts and devices that an API key may see.
* alias book: which IMEI and MDN belong together, as the provider has said.
* session: our periodic job. Transaction: the provider's id of a job.
* tallies: the running sums of a session, how many of its devices stand alike (`storage.tallies`).
* callback: what a provider posts to us, raw. Listener: our address, registered at the provider to receive callbacks.
* event: something that happened, in the log. Subscription: who wants which events posted where. Delivery: one POST with
  events in it. Attempt: one try at a delivery. Receiver: where deliveries go to.
* fast path, full path: the two ways of a callback from the socket to the writer; the first costs no task, and is for
  small ones of which something can be made.
* quarantine: callbacks that are kept although no report could be made of them.
* event: something that happened, such as that a report was stored. Log: all events, in Postgres. Cursor: what a reader
  of the log has seen.
"""
