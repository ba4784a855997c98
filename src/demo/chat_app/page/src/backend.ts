/** What the application's own backend answers; it holds the server key, this page never sees it. */
export interface Session {
  user: string;
  agentId: string;
  otherAgentId: string;
  /** The gate, which is another origin than this page. */
  gate: string;
  token: string;
  /** ISO 8601. */
  expiresAt: string;
}

async function post<T>(path: string, body: unknown): Promise<T> {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

export const logIn = (user: string): Promise<Session> => post('/api/login', { user });
/** A fresh token for whoever is logged in. */
export const freshToken = (): Promise<Session> => post('/api/token', {});
/** Deletes the user's tokens at the gate; open streams end. */
export const logOut = (): Promise<unknown> => post('/api/logout', {});
/** A token that was deleted a moment ago, and one that has expired. */
export const uselessToken = (kind: 'deleted' | 'expired'): Promise<{ token: string }> => post('/api/useless', { kind });
