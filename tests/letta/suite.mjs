// Drives the gate with a real TypeScript SDK of either generation, the one installed in SDK_DIR.
//
//   CKGATE_SERVER_KEY=sk-let-... node suite.mjs GATE_URL SDK_DIR
//
// One PASS or FAIL line a check, the same checks as in suite.py. A check may use what an earlier one made.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  SERVER_KEY, V1, ORIGIN, ALL, SECRET, OTHER, TALK, received, agent, user, kind,
  said, sdk, all, needIncremental, plain, refusal, need, check,
} from './sdks.mjs';

async function main() {
  const server = sdk(SERVER_KEY);
  const [a, b] = await agents(server);
  const full = await tokens(server, a, b);
  await chat(full, a);
  await agentState(full, a);
  await permissions(server, full, a, b);
  await credentials(server, a);
  await revocation(server, a);
  await check('no answer to a client token held a secret or anything of another agent', () => {
    const everything = received.map((answer) => answer.text).join('\n');
    need(everything.includes(TALK), 'the recorder saw nothing');
    need(!everything.includes(SECRET), 'a secret of A');
    need(!everything.includes(OTHER), 'something of B');
  });
}

async function agents(server) {
  let a, b;
  await check('server key: agents.create', async () => {
    a = (await server.createAgent(agent('a', SECRET))).id;
    const other = { ...agent(OTHER, OTHER), description: OTHER, system: OTHER, tags: [OTHER], metadata: { note: OTHER } };
    b = (await server.createAgent(other)).id;
    await server.send(b, OTHER);
  });
  await check('server key: agents.list', async () => {
    const ids = (await server.listAgents({ limit: 100 })).map((agent) => agent.id);
    need(ids.includes(a) && ids.includes(b), ids);
  });
  await check('server key: agents.retrieve', async () => need((await server.retrieve(b)).description === OTHER));
  await check('server key: agents.modify', async () => {
    need((await server.modify(a, { description: 'by the server' })).description === 'by the server');
  });
  await check('server key: sees the secrets a client token must not see', async () => {
    need((await plain('PATCH', `/v1/agents/${a}`, SERVER_KEY, { description: 'by the server' })).text.includes(SECRET));
  });
  return [a, b];
}

async function tokens(server, a, b) {
  const made = [];
  await check('server key: a token is created', async () => {
    for (const id of [a, b, a]) made.push(await server.createToken(id, ALL));
    const [{ token, hostname, policy, expiresAt }] = made;
    need(/^ck-let-[A-Za-z0-9_-]{52}$/.test(token), token);
    need(hostname === ORIGIN, hostname);
    need(policy.version === '1' && policy.data[0].id === a, policy);
    need([...policy.data[0].access].sort().join() === [...ALL].sort().join(), policy);
    const lifetime = new Date(expiresAt) - Date.now();
    need(lifetime > 290_000 && lifetime <= 300_000, lifetime);
  });
  await check('server key: tokens are listed by agent, newest first, in pages', async () => {
    const first = await server.listTokens({ agentId: a, limit: 1, offset: 0 });
    const second = await server.listTokens({ agentId: a, limit: 1, offset: 1 });
    need([...first.tokens, ...second.tokens].map((t) => t.token).join() === [made[2].token, made[0].token].join());
    need(first.hasNextPage && !second.hasNextPage);
    need((await server.listTokens({})).tokens.some((t) => t.token === made[1].token), 'without a filter');
  });
  await check('server key: a deleted token is not listed, and deleting it again is fine', async () => {
    await server.deleteToken(made[2].token);
    await server.deleteToken(made[2].token);
    need((await server.listTokens({ agentId: a })).tokens.map((t) => t.token).join() === made[0].token);
  });
  await check('server key: a token without a policy is refused', () => refusal(() => server.createTokenOf([]), 400));
  return made[0].token;
}

async function chat(token, a) {
  const client = sdk(token, ORIGIN);
  await check('messages.create', async () => need(said((await client.send(a, TALK)).messages) === `echo: ${TALK}`));
  await check('messages.stream, whole steps', async () => {
    need(said(await all(await client.stream(a, TALK))) === `echo: ${TALK}`);
  });
  await check('messages.stream, tokens as they come', async () => {
    await needIncremental(await client.streamTokens(a, '[[words 20 50]]'));
  });
  if (V1) {
    await check('messages.create with streaming', async () => {
      await needIncremental(await client.createStreaming(a, '[[words 20 50]]'));
    });
  }
  await check('plain POST with streaming', async () => {
    const answer = await plain('POST', `/v1/agents/${a}/messages`, token, { messages: user(TALK), streaming: true });
    need(answer.headers.get('content-type').startsWith('text/event-stream'), answer.text);
    need(answer.text.trimEnd().endsWith('data: [DONE]'), answer.text);
  });
  await check('messages.list', async () => {
    const page = V1 ? { limit: 2, order: 'asc' } : { limit: 100 }; // 1.x asks for page after page by itself
    const texts = said(await client.listMessages(a, page));
    need(texts.split(`echo: ${TALK}`).length === 4, texts);
  });
}

async function agentState(token, a) {
  const client = sdk(token, ORIGIN);
  await check('agents.retrieve', async () => need((await client.retrieve(a)).id === a));
  await check('agents.modify', async () => {
    need((await client.modify(a, { description: TALK })).description === TALK);
    need((await client.retrieve(a)).description === TALK);
  });
  await check('plain GET and PATCH of the agent have no secrets', async () => {
    for (const answer of [
      await plain('GET', `/v1/agents/${a}`, token),
      await plain('PATCH', `/v1/agents/${a}`, token, { description: TALK }),
    ]) {
      const state = JSON.parse(answer.text);
      need(answer.status === 200 && state.description === TALK, answer.text);
      need(!('secrets' in state) && !('tool_exec_environment_variables' in state), Object.keys(state));
    }
  });
  await check('asking for the secrets by name gives none', async () => {
    for (const query of ['include=agent.secrets', 'include_relationships=tool_exec_environment_variables']) {
      const answer = await plain('GET', `/v1/agents/${a}?${query}`, token);
      need([200, 403].includes(answer.status) && !answer.text.includes(SECRET), answer.text);
    }
  });
}

async function permissions(server, token, a, b) {
  const client = sdk(token, ORIGIN);
  await check('read_messages alone reads messages and nothing else', async () => {
    const reader = sdk((await server.createToken(a, ['read_messages'])).token, ORIGIN);
    need(said(await reader.listMessages(a, { limit: 100 })).includes(TALK));
    await refusal(() => reader.send(a, 'no'), 403, 'permission_denied');
    await refusal(() => reader.stream(a, 'no'), 403, 'permission_denied');
    await refusal(() => reader.retrieve(a), 403, 'permission_denied');
    await refusal(() => reader.modify(a, { description: 'no' }), 403, 'permission_denied');
  });
  await check('another agent is refused', async () => {
    await refusal(() => client.retrieve(b), 403, 'permission_denied');
    await refusal(() => client.modify(b, { description: 'no' }), 403, 'permission_denied');
    await refusal(() => client.send(b, 'no'), 403, 'permission_denied');
    await refusal(() => client.listMessages(b, {}), 403, 'permission_denied');
  });
  await check('routes that are not for client tokens are refused', async () => {
    await refusal(() => client.listAgents({}), 403, 'route_not_allowed');
    await refusal(() => client.createAgent(agent('no', 'no')), 403, 'route_not_allowed');
    await refusal(() => client.deleteAgent(a), 403, 'route_not_allowed');
    await refusal(() => client.listTools(), 403, 'route_not_allowed');
  });
  await check('the token API is refused', async () => {
    await refusal(() => client.createToken(a, ['read_messages']), 403, 'route_not_allowed');
    await refusal(() => client.listTokens({}), 403, 'route_not_allowed');
    await refusal(() => client.deleteToken(token), 403, 'route_not_allowed');
  });
  await check('a field that widens rights is refused', () =>
    refusal(() => client.modify(a, { model: 'openai-proxy/gpt-4o-mini' }), 403, 'parameter_not_allowed'));
  await check('another origin, or none, is refused', async () => {
    await refusal(() => sdk(token, 'http://localhost:3001').retrieve(a), 403, 'hostname_mismatch');
    await refusal(() => sdk(token).retrieve(a), 403, 'hostname_mismatch');
  });
}

async function credentials(server, a) {
  await check('a deleted token is refused at once', async () => {
    const { token } = await server.createToken(a, ALL);
    await sdk(token, ORIGIN).retrieve(a);
    await server.deleteToken(token);
    await refusal(() => sdk(token, ORIGIN).retrieve(a), 401, 'token_invalid');
  });
  await check('a token that was never issued is refused', async () => {
    for (const garbage of ['ck-let-garbage', `ck-let-${'A'.repeat(52)}`, `sk-let-${'A'.repeat(40)}`]) {
      await refusal(() => sdk(garbage, ORIGIN).retrieve(a), 401, 'token_invalid');
    }
  });
  await check('an expired token is refused', async () => {
    const expiresAt = new Date(Date.now() + 3000);
    const { token } = await server.createToken(a, ALL, expiresAt.toISOString());
    await sdk(token, ORIGIN).retrieve(a);
    await sleep(expiresAt - Date.now() + 10);
    await refusal(() => sdk(token, ORIGIN).retrieve(a), 401, 'token_expired');
  });
}

async function revocation(server, a) {
  await check('a deletion ends an open stream', async () => {
    const { token } = await server.createToken(a, ALL);
    let pieces = 0, deletedAt, error;
    try {
      for await (const event of await sdk(token, ORIGIN).streamTokens(a, '[[words 200 50]]')) {
        if (kind(event) === 'assistant_message' && ++pieces === 3) {
          await server.deleteToken(token);
          deletedAt = performance.now();
        }
      }
    } catch (raised) { error = raised; }
    need(performance.now() - deletedAt < 1000, `${pieces} pieces before it ended`);
    const last = received.at(-1).text.trimEnd().split('\n\n').at(-1);
    need(last.startsWith('event: error\ndata: '), last);
    const data = JSON.parse(last.slice('event: error\ndata: '.length));
    need(Object.keys(data).sort().join() === 'code,message' && data.code === 'token_revoked', data);
    need(!V1 || error?.error?.code === 'token_revoked', `the SDK made ${error} of it`);
  });
}

await main();
