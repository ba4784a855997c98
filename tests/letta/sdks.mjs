// The real TypeScript SDKs of both generations in one form, and what checks with them need. Takes the
// arguments of the script that imports it: GATE_URL SDK_DIR.
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';

export const [GATE, SDK_DIR] = process.argv.slice(2);
export const SERVER_KEY = process.env.CKGATE_SERVER_KEY;
const { Letta, LettaClient } = createRequire(`${SDK_DIR}/package.json`)('@letta-ai/letta-client');
export const V1 = LettaClient === undefined;
export const ORIGIN = 'http://localhost:3000';
export const ALL = ['read_messages', 'write_messages', 'read_agent', 'write_agent'];

export const RUN = randomUUID().slice(0, 8);
export const SECRET = `secret-${RUN}`; // agent A's, for its tools only
export const OTHER = `other-${RUN}`; // everywhere in agent B, for nobody who holds a token of A
export const TALK = `talk-${RUN}`; // what the holder of A's token says

export const received = []; // head and body of every answer to a client token, as text

// --- one form for both generations ---

export function sdk(key, origin) {
  const headers = origin ? { Origin: origin } : {};
  const maxRetries = 0; // so that a failure shows
  return V1 ? sdk1(new Letta({ baseURL: GATE, apiKey: key, defaultHeaders: headers, maxRetries, timeout: 120_000 }))
    : sdk0(new LettaClient({ baseUrl: GATE, token: key }), { headers, maxRetries, timeoutInSeconds: 120 });
}

/** The SDK itself, for a client token, on the page that it is bound to. */
export function client(token) {
  onPage = true;
  return V1 ? new Letta({ baseURL: GATE, apiKey: token, maxRetries: 0, timeout: 120_000 })
    : new LettaClient({ baseUrl: GATE, token });
}

function sdk1({ agents, tools, accessTokens: tokens }) {
  return {
    createAgent: (body) => agents.create(body),
    listAgents: (query) => all(agents.list(query)),
    retrieve: (id) => agents.retrieve(id),
    modify: (id, fields) => agents.update(id, fields),
    deleteAgent: (id) => agents.delete(id),
    send: (id, text) => agents.messages.create(id, { messages: user(text) }),
    stream: (id, text) => agents.messages.stream(id, { messages: user(text) }),
    streamTokens: (id, text) => agents.messages.stream(id, { messages: user(text), stream_tokens: true }),
    createStreaming: (id, text) => agents.messages.create(id, { input: text, streaming: true, stream_tokens: true }),
    listMessages: (id, query) => all(agents.messages.list(id, query)),
    listTools: () => all(tools.list()),
    createToken: (id, access, expires_at) =>
      tokens.create({ policy: [{ type: 'agent', id, access }], hostname: ORIGIN, expires_at }),
    createTokenOf: (policy) => tokens.create({ policy, hostname: ORIGIN }),
    listTokens: (query) => tokens.list(query),
    deleteToken: (token) => tokens.delete(token),
  };
}

function sdk0({ agents, tools, clientSideAccessTokens: tokens }, options) { // options go with every call
  return {
    createAgent: ({ memory_blocks, secrets, ...rest }) =>
      agents.create({ ...rest, memoryBlocks: memory_blocks, toolExecEnvironmentVariables: secrets }, options),
    listAgents: (query) => agents.list(query, options),
    retrieve: (id) => agents.retrieve(id, {}, options),
    modify: (id, fields) => agents.modify(id, fields, options),
    deleteAgent: (id) => agents.delete(id, options),
    send: (id, text) => agents.messages.create(id, { messages: user(text) }, options),
    stream: (id, text) => agents.messages.createStream(id, { messages: user(text) }, options),
    streamTokens: (id, text) => agents.messages.createStream(id, { messages: user(text), streamTokens: true }, options),
    listMessages: (id, query) => agents.messages.list(id, query, options),
    listTools: () => tools.list({}, options),
    createToken: (id, access, expiresAt) =>
      tokens.create({ policy: [{ type: 'agent', id, access }], hostname: ORIGIN, expiresAt }, options),
    createTokenOf: (policy) => tokens.create({ policy, hostname: ORIGIN }, options),
    listTokens: (query) => tokens.clientSideAccessTokensListClientSideAccessTokens(query, options),
    deleteToken: (token) => tokens.delete(token, undefined, options),
  };
}

// --- what the checks need ---

export const agent = (name, secret) => ({
  name: `${name}-${RUN}`,
  model: 'openai-proxy/gpt-4o-mini',
  embedding: 'openai/text-embedding-3-small',
  memory_blocks: [{ label: 'human', value: name }, { label: 'persona', value: name }],
  secrets: { API_KEY: secret },
});

export const user = (text) => [{ role: 'user', content: text }];
export const kind = (message) => message.message_type ?? message.messageType;

/** The text of the assistant's messages. */
export const said = (messages) => messages.filter((m) => kind(m) === 'assistant_message')
  .flatMap((m) => (typeof m.content === 'string' ? m.content : m.content.map((part) => part.text))).join('');

export async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Twenty words, 50 ms apart, must not arrive all at once. */
export async function needIncremental(events) {
  const times = [];
  for await (const event of events) if (kind(event) === 'assistant_message') times.push(performance.now());
  const spread = times.at(-1) - times[0];
  need(times.length >= 10 && spread > 500, `${times.length} pieces in ${spread} ms`);
}

/** A request that does not look like an SDK's. */
export async function plain(method, path, key, body) {
  const headers = { authorization: `Bearer ${key}`, origin: ORIGIN, 'content-type': 'application/json' };
  const answer = await record(GATE + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

export async function refusal(call, status, code) {
  let error;
  try { await call(); } catch (raised) { error = raised; }
  need(error, `wanted ${status} ${code}, but it was allowed`);
  need((error.status ?? error.statusCode) === status, error.message);
  let body = V1 ? error.error : error.body;
  if (body instanceof ReadableStream) body = await new Response(body).json(); // 0.x leaves a refused stream unread
  need(Object.keys(body).sort().join() === 'code,message,request_id', body);
  need(code === undefined || body.code === code, body);
}

export function need(condition, seen = '') {
  if (!condition) throw new Error(typeof seen === 'string' ? seen : JSON.stringify(seen));
}

export async function check(name, body) {
  try {
    await body();
    console.log('PASS', name);
  } catch (error) {
    const frames = error.stack.split('\n').filter((frame) => !/ (need\w*|refusal) /.test(frame));
    const line = /(?:suite|operations)\.mjs:(\d+)/.exec(frames.join())?.[1];
    console.log('FAIL', name, `(line ${line})`, error.constructor.name, error.message.replace(/\s+/g, ' ').slice(0, 300));
  }
}

/** fetch, but it passes answers to client tokens on as they come and keeps what passed in `received`. */
async function record(url, init) {
  if (onPage) {
    const headers = new Headers(init.headers);
    if (!headers.has('origin')) headers.set('origin', ORIGIN); // as a browser does
    init = { ...init, headers };
  }
  const answer = await realFetch(url, init);
  if (new Headers(init.headers).get('authorization') === `Bearer ${SERVER_KEY}`) return answer;
  const kept = { text: JSON.stringify([...answer.headers]) };
  received.push(kept);
  const decoder = new TextDecoder();
  const keeper = new TransformStream({
    transform(chunk, controller) {
      kept.text += decoder.decode(chunk, { stream: true });
      controller.enqueue(chunk);
    },
  });
  return new Response(answer.body?.pipeThrough(keeper), answer);
}

let onPage = false; // whether requests come from the page that tokens are bound to
const realFetch = globalThis.fetch;
globalThis.fetch = record;
