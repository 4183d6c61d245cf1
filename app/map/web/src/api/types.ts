// Answers of the public API, as far as the page reads them; /docs describes them whole.

export type Source = "gnss" | "wifi" | "cell" | "network" | "unknown";
export const SOURCES: readonly Source[] = ["gnss", "wifi", "cell", "network", "unknown"];

export interface Identifiers {
  imei?: string;
  meid?: string;
  esn?: string;
  mdn?: string;
  name?: string;
}

export interface Location {
  latitude: number;
  longitude: number;
  accuracy: number | null;
  confidence: number | null;
  timestamp: string;
  source: Source;
  provider: string;
  cached: boolean;
}

export interface Report {
  id: string;
  transactionId: string | null;
  sessionId: string | null;
  account: string | null;
  device: Identifiers;
  type: string;
  status: "located" | "failed" | "info";
  location: Location | null;
  error: { type: string | null; info: string | null; timestamp: string | null } | null;
  provider: string;
  flags: string[];
  receivedAt: string;
}

export interface Counts {
  due: number;
  received: number;
  failed: number;
  missing: number;
}

export interface Session {
  id: string;
  transactionId: string | null;
  state: string;
  account: string;
  interval: number;
  count: number | null;
  unlimited: boolean;
  devices: { total: number };
  reports: Counts & { expected: number | null };
  createdAt: string;
  endsAt: string | null;
  endedAt: string | null;
  problem: { detail?: string; title?: string } | null;
}

export interface SessionDevice extends Counts {
  device: Identifiers;
  state: string;
  lastFix: Location | null;
  lastError: Report["error"];
}

export interface Attempt {
  provider: string;
  outcome: string;
  durationMs: number | null;
  reason?: string | null;
}

export interface LocateAnswer {
  requestId: string;
  device?: Identifiers;
  location: Location;
  attempts: Attempt[];
  hints?: string[];
}

export interface ProblemDocument {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  retryable?: boolean;
  errors?: { pointer: string; detail: string }[];
  attempts?: Attempt[];
}
