/** The admin API, as /openapi.json describes it. */
export interface Second {
  at: number;
  requests: number;
  refused: number;
  failed: number;
  p50_us: number;
  p95_us: number;
}
export interface Overview {
  version: string;
  now: string;
  up_seconds: number;
  ready: boolean;
  feed_fresh: boolean;
  feed_age_ms: number | null;
  connections: number;
  store_failures: number;
  feed_failures: number;
  tokens_created: number;
  tokens_deleted: number;
  accounts: string[];
  streams: { token: string; open: number }[];
  seconds: Second[];
}
export interface Decision {
  sequence: number;
  at: string;
  request_id: string;
  method: string;
  path: string | null;
  operation: string;
  decision: string;
  reason: string | null;
  explanation: string | null;
  status: number;
  account: string | null;
  token: string | null;
  agent: string | null;
  client: string;
  duration_us: number;
}
export interface TokenRow {
  id: string;
  account: string;
  hostname: string;
  created_at: string;
  expires_at: string;
  policy: { agent: string; access: string[] }[];
  last_used_at: string | null;
  usage: { permission: string; requests: number; last_used_at: string | null }[];
  streams: number;
}
export interface TokenPage {
  tokens: TokenRow[];
  looked_at: number;
  next: string | null;
}
export interface RouteRow {
  name: string;
  methods: string[];
  path: string;
  permission?: string;
  refuse?: string;
  agent?: string;
  query: [string, string][];
  body?: [string, string][];
  redact: string[];
  streams: boolean;
  line: number;
}

/** An answer that is an error, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  const answer = await fetch(`/api/${path}`, init);
  const text = await answer.text();
  const parsed = text ? JSON.parse(text) : undefined;
  if (!answer.ok) throw new Refused(answer.status, parsed?.code ?? 'error', parsed?.message ?? answer.statusText);
  return parsed as T;
}
