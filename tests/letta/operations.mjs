// Drives every operation that is open to client tokens, with the TypeScript SDK in SDK_DIR where it has a
// method for it and plainly where it has none.
//
//   CKGATE_SERVER_KEY=sk-let-... node operations.mjs GATE_URL SDK_DIR CKGATE_BIN
//
// One PASS or FAIL line a check.
import { execFileSync } from 'node:child_process';
import { ALL, GATE, OTHER, SECRET, SERVER_KEY, V1, agent, all, check, client, need, plain, received, sdk, user } from './sdks.mjs';

const driven = new Set();
const LACKS = [400, 404, 409, 500, 502, 503]; // what Letta says where the lab has nothing to embed, cancel or close
const FILE = 'file-33333333-3333-4333-8333-333333333333';

async function main() {
  const server = sdk(SERVER_KEY);
  const a = (await server.createAgent(agent('a', SECRET))).id;
  const other = (await server.createAgent({ ...agent(OTHER, OTHER), description: OTHER })).id;
  await server.send(other, OTHER);
  const { token } = await server.createToken(a, ALL);
  await state(token, a);
  await memory(token, a);
  const run = await messages(token, a);
  await conversations(token, a);
  await runs(token, run);
  await check('every open operation was driven', () => {
    const table = JSON.parse(execFileSync(process.argv[4], ['routes', '--json'], { maxBuffer: 1 << 24 }));
    const open = table.filter((row) => row.permission).map((row) => row.name);
    need(open.sort().join() === [...driven].sort().join(), open.filter((name) => !driven.has(name)).join());
  });
  await check('no answer to a client token held a secret or anything of another agent', () => {
    const everything = received.map((answer) => answer.text).join('\n');
    need(everything.includes(a), 'the recorder saw nothing');
    need(!everything.includes(SECRET) && !everything.includes(OTHER), 'a secret, or something of another agent');
  });
}

/** Drives an operation; `lacking`: what the server itself may say beside a success. */
async function drive(name, call, lacking = []) {
  driven.add(name);
  let answer;
  await check(name, async () => {
    try {
      answer = await call();
    } catch (error) {
      const status = error.status ?? error.statusCode;
      const own = (V1 ? error.error : error.body)?.code;
      if (!lacking.includes(status) || own !== undefined) throw error;
    }
    if (answer?.headers === undefined || answer.text === undefined) return;
    need(answer.status < 300 || lacking.includes(answer.status), `${answer.status} ${answer.text}`);
    need(answer.status < 300 || !('code' in JSON.parse(answer.text)), answer.text);
  });
  return answer;
}

/** The call of the generation that runs: with its method, or plainly where it has none. */
const either = (one, zero) => (V1 ? one : zero);

/** A list in whatever form it comes: pages, an array, an object of its own. */
async function listed(list) {
  const answer = await list;
  return answer?.[Symbol.asyncIterator] ? all(answer) : answer;
}

/** A stream that may have no end: its beginning. */
async function begun(stream) {
  for await (const event of await stream) return event;
}

/** The head of an answer that may be a stream without end. */
async function opened(token, path) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(GATE + path, { method: 'POST', headers, body: '{}' });
  await answer.body?.cancel();
  return { status: answer.status, headers: answer.headers, text: '{}' };
}

async function state(token, a) {
  const path = `/v1/agents/${a}`;
  const { agents } = client(token);
  const ask = (method, rest, body) => () => plain(method, path + rest, token, body);
  await drive('agents.retrieve', () => agents.retrieve(a));
  await drive('agents.modify', () => (V1 ? agents.update : agents.modify).call(agents, a, { description: 'by its user' }));
  await drive('agents.tools.list', () => listed(agents.tools.list(a)));
  await drive('agents.folders.list', () => listed(agents.folders.list(a)));
  await drive('agents.sources.list', either(ask('GET', '/sources'), () => agents.sources.list(a)));
  // `files.list` of 0.x sends a PATCH, which no server knows.
  await drive('agents.files.list',
    either(() => listed(agents.files.list(a, { limit: 5 })), () => agents.listAgentFiles(a, { limit: 5 })));
  await drive('agents.files.close_all', () => agents.files.closeAll(a));
  await drive('agents.files.close',
    either(() => agents.files.close(FILE, { agent_id: a }), () => agents.files.close(a, FILE)), LACKS);
  await drive('agents.recompile', either(() => agents.recompile(a, { dry_run: true }), ask('POST', '/recompile?dry_run=true')));
  await drive('agents.system_prompt.recompile', ask('POST', '/system-prompt/recompile?dry_run=true'));
}

async function memory(token, a) {
  const path = `/v1/agents/${a}`;
  const { blocks, coreMemory, passages } = client(token).agents;
  const ask = (method, rest, body) => () => plain(method, path + rest, token, body);
  await drive('agents.core_memory.retrieve', either(ask('GET', '/core-memory'), () => coreMemory?.retrieve(a)));
  await drive('agents.blocks.list', () => listed(blocks.list(a)));
  await drive('agents.blocks.retrieve',
    either(() => blocks.retrieve('human', { agent_id: a }), () => blocks.retrieve(a, 'human')));
  await drive('agents.blocks.modify', either(() => blocks.update('human', { agent_id: a, value: 'likes tea' }),
    () => blocks.modify(a, 'human', { value: 'likes tea' })));
  await drive('agents.passages.list', () => passages.list(a, { limit: 5 }));
  await drive('agents.passages.create', () => passages.create(a, { text: 'tea' }), LACKS);
  await drive('agents.passages.search', () => passages.search(a, { query: 'tea' }), LACKS);
}

async function messages(token, a) {
  const path = `/v1/agents/${a}`;
  const talk = client(token).agents.messages;
  await drive('agents.messages.create', () => talk.create(a, { messages: user('hello') }));
  const stream = () => (V1 ? talk.stream : talk.createStream).call(talk, a, { messages: user('hello') });
  await drive('agents.messages.stream', async () => all(await stream()));
  await drive('agents.messages.list', () => listed(talk.list(a, { limit: 100 })));
  const run = await drive('agents.messages.create_async', () => talk.createAsync(a, { messages: user('hello') }));
  await drive('agents.messages.cancel', () => plain('POST', `${path}/messages/cancel`, token, {}), LACKS);
  const body = { model: a, messages: user('hello'), stream: true };
  await drive('chat.completions.create', () => plain('POST', '/v1/chat/completions', token, body));
  return run?.id;
}

async function conversations(token, a) {
  const talks = client(token).conversations; // 0.x has none
  const made = await plain('POST', `/v1/conversations/?agent_id=${a}`, token, { summary: 'tea' });
  await drive('conversations.create', () => made);
  const { id } = JSON.parse(made.text);
  const ask = (method, rest, body) => () => plain(method, `/v1/conversations/${id}${rest}`, token, body);
  await drive('conversations.list',
    either(() => listed(talks.list({ agent_id: a })), () => plain('GET', `/v1/conversations/?agent_id=${a}`, token)));
  await drive('conversations.retrieve', either(() => talks.retrieve(id), ask('GET', '')));
  await drive('conversations.modify',
    either(() => talks.update(id, { summary: 'coffee' }), ask('PATCH', '', { summary: 'coffee' })));
  await drive('conversations.messages.create', either(
    async () => all(await talks.messages.create(id, { messages: user('hello') })), ask('POST', '/messages', { messages: user('hello') })));
  await drive('conversations.messages.list', either(() => listed(talks.messages.list(id)), ask('GET', '/messages')));
  await drive('conversations.fork', either(() => talks.fork(id), ask('POST', '/fork')));
  await drive('conversations.cancel', either(() => talks.cancel(id), ask('POST', '/cancel')), LACKS);
  await drive('conversations.messages.stream', either(() => begun(talks.messages.stream(id)),
    () => opened(token, `/v1/conversations/${id}/stream`)), LACKS);
}

async function runs(token, run) {
  const { runs: done } = client(token);
  const path = `/v1/runs/${run}`;
  await drive('runs.retrieve', () => done.retrieve(run));
  await drive('runs.usage.retrieve', () => done.usage.retrieve(run));
  await drive('runs.messages.list', () => listed(done.messages.list(run)));
  await drive('runs.messages.stream', either(() => begun(done.messages.stream(run)),
    () => opened(token, `${path}/stream`)), LACKS);
}

await main();
