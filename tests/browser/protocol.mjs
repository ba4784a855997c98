// What browsers do by themselves: preflights, origins, redirects, streams.
import { SERVER_KEY, browser, check, createToken, equal, holds, serve, startGate } from './lab.mjs';

const A = 'agent-11111111-1111-4111-8111-111111111111';
const REDIRECTED = 'agent-33333333-3333-4333-8333-333333333333';
const ALL = ['read_messages', 'write_messages'];

export default async function protocol(program) {
  const elsewhere = { asked: 0 };
  const outside = await serve((request, answer) => {
    elsewhere.asked += 1;
    answer.writeHead(200, { 'access-control-allow-origin': '*' }).end('[]');
  });
  const received = [];
  const upstream = await serve((request, answer) => {
    received.push(`${request.method} ${request.url}`);
    if (request.url.includes(REDIRECTED)) return answer.writeHead(307, { location: `${outside.origin}/stolen` }).end();
    if (!request.url.endsWith('/stream')) {
      return answer.writeHead(200, { 'content-type': 'application/json', 'access-control-allow-origin': '*' }).end('[]');
    }
    answer.writeHead(200, { 'content-type': 'text/event-stream' });
    let left = 10;
    const timer = setInterval(() => {
      if (left === 0) {
        clearInterval(timer);
        return answer.end('data: [DONE]\n\n');
      }
      answer.write(`data: {"message_type":"assistant_message","content":"${left}"}\n\n`);
      left -= 1;
    }, 50);
    request.on('close', () => clearInterval(timer));
    return undefined;
  });
  const { gate } = await startGate(program, upstream.port);
  const page = await serve((request, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end('<title>page</title>'));
  const token = await createToken(gate, SERVER_KEY, A, page.origin, ALL);
  const open = await browser();
  const window = await open();
  await window.goto(page.origin);

  /** A fetch in the page; what the page may see of it. */
  const ask = (where, path, { method = 'GET', bearer = token, body, query = '' } = {}) =>
    where.evaluate(
      async ([url, method, bearer, body]) => {
        const headers = bearer ? { authorization: `Bearer ${bearer}` } : {};
        if (body) headers['content-type'] = 'application/json';
        try {
          const answer = await fetch(url, { method, headers, body });
          const seen = Object.fromEntries(answer.headers);
          return { status: answer.status, redirected: answer.redirected, seen, body: await answer.json().catch(() => null) };
        } catch (error) {
          return { failed: error.name };
        }
      },
      [`${gate}${path}${query}`, method, bearer, body],
    );
  const messages = `/v1/agents/${A}/messages`;

  await check('a cross-origin GET passes its preflight, which is not forwarded', async () => {
    const before = received.length;
    const answer = await ask(window, messages);
    equal(answer.status, 200);
    equal(received.slice(before), [`GET ${messages}`]);
    holds(/^[0-9a-f]{32}$/.test(answer.seen['x-request-id']), 'the page may read x-request-id');
  });

  await check('answers vary by origin, and name the one origin', async () => {
    for (const origin of [page.origin, null]) {
      const headers = { authorization: `Bearer ${token}`, ...(origin ? { origin } : {}) };
      const answer = await fetch(`${gate}${messages}`, { headers });
      equal(answer.headers.get('vary'), 'Origin');
      equal(answer.headers.get('access-control-allow-origin'), origin);
    }
  });

  await check('a preflight of an origin without a token is refused, and the browser obeys', async () => {
    const other = await serve((request, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end('<title>x</title>'));
    const foreign = await open();
    await foreign.goto(other.origin);
    const before = received.length;
    equal(await ask(foreign, messages), { failed: 'TypeError' });
    equal(received.length, before);
  });

  await check('another live origin may read why it is refused', async () => {
    const other = await serve((request, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end('<title>x</title>'));
    const own = await createToken(gate, SERVER_KEY, A, other.origin, ALL);
    const foreign = await open();
    await foreign.goto(other.origin);
    equal((await ask(foreign, messages, { bearer: own })).status, 200);
    const stolen = await ask(foreign, messages, { bearer: token });
    holds(stolen.failed === 'TypeError' || stolen.body.code === 'hostname_mismatch', JSON.stringify(stolen));
  });

  await check('a sandboxed frame, whose origin is null, gets nothing', async () => {
    const before = received.length;
    const outcome = await window.evaluate(
      ([url, bearer]) =>
        new Promise((done) => {
          addEventListener('message', (event) => done([event.origin, event.data]), { once: true });
          const frame = document.createElement('iframe');
          frame.sandbox.add('allow-scripts');
          frame.srcdoc = `<script>fetch('${url}', { headers: { authorization: 'Bearer ${bearer}' } })
            .then((answer) => answer.status, (error) => error.name).then((told) => parent.postMessage(told, '*'))</script>`;
          document.body.append(frame);
        }),
      [`${gate}${messages}`, token],
    );
    equal(outcome, ['null', 'TypeError']);
    equal(received.length, before);
  });

  await check('a page of the gate itself sends no Origin with GET, and passes by Host', async () => {
    const own = await createToken(gate, SERVER_KEY, A, gate, ALL);
    const home = await open();
    await home.goto(`${gate}/`);
    const answer = await ask(home, messages, { bearer: own });
    equal(answer.status, 200);
    const posted = await ask(home, `${messages}`, { bearer: own, method: 'POST', body: '{"input":"x"}' });
    equal(posted.status, 200);
    equal((await ask(home, messages)).body.code, 'hostname_mismatch');
  });

  await check('a slash too many is no redirect', async () => {
    const answer = await ask(window, `${messages}/`);
    equal([answer.status, answer.redirected], [200, false]);
  });

  await check('a redirection of the upstream reaches neither the page nor its target', async () => {
    const redirected = await createToken(gate, SERVER_KEY, REDIRECTED, page.origin, ALL);
    const answer = await ask(window, `/v1/agents/${REDIRECTED}/messages`, { bearer: redirected });
    equal([answer.status, answer.body.code], [502, 'upstream_invalid']);
    equal(elsewhere.asked, 0);
  });

  await check('a fetch stream arrives piece by piece', async () => {
    const times = await window.evaluate(
      async ([url, bearer]) => {
        const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
        const answer = await fetch(url, { method: 'POST', headers, body: '{"input":"x"}' });
        const reader = answer.body.getReader();
        const times = [];
        for (;;) {
          const { done } = await reader.read();
          if (done) return times;
          times.push(performance.now());
        }
      },
      [`${gate}${messages}/stream`, token],
    );
    holds(times.length >= 5 && times.at(-1) - times[0] > 200, `${times.length} pieces`);
  });

  await check('an EventSource, which cannot send a token, opens nothing, not even with the token in the query', async () => {
    const before = received.length;
    for (const query of ['', `?token=${token}`, `?access_token=${token}`]) {
      const outcome = await window.evaluate(
        (url) =>
          new Promise((done) => {
            const source = new EventSource(url);
            source.onopen = () => done('open');
            source.onmessage = () => done('message');
            source.onerror = () => done(source.readyState === EventSource.CLOSED ? 'closed' : 'again');
          }),
        `${gate}${messages}/stream${query}`,
      );
      equal(outcome, 'closed');
    }
    equal(received.length, before);
  });
}
