import { APIConnectionError, APIError } from '@letta-ai/letta-client';

/** Why something did not work, in words for the user and with the code for the developer. */
export interface Refusal {
  code: string;
  message: string;
  requestId?: string;
}

/** Reads what the SDK throws. The gate's errors are `{"message", "code", "request_id"}`. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof APIConnectionError) {
    return {
      code: 'not readable',
      message:
        `The browser may not read the gate's answer. Either the gate is out of reach, or no token is bound to ` +
        `this page's origin, ${location.origin}.`,
    };
  }
  if (error instanceof APIError) {
    const body = (error.error ?? {}) as { code?: string; message?: string; request_id?: string };
    const refusal: Refusal = { code: body.code ?? String(error.status), message: body.message ?? error.message };
    if (body.request_id) refusal.requestId = body.request_id;
    return refusal;
  }
  return { code: 'error', message: error instanceof Error ? error.message : String(error) };
}

/** Whether a new token helps. */
export const needsToken = (refusal: Refusal): boolean =>
  ['token_expired', 'token_invalid', 'token_revoked'].includes(refusal.code);
