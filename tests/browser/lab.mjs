// Gates, upstreams, pages and browsers for the suites beside this file; all on loopback, all ended at the end.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const ends = [];
let passed = 0;
let failed = 0;

/** Ends what was started, newest first. */
export async function endAll() {
  while (ends.length) await ends.pop()();
}

/** Something to be ended with the rest. */
export const onEnd = (end) => ends.push(end);

/** One claim; a failure is told and the suite goes on. */
export async function check(claim, test) {
  try {
    await test();
    passed += 1;
    console.log(`PASS ${claim}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${claim}: ${error.stack ?? error}`);
  }
}

export function verdict() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

export function equal(found, expected, what = '') {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what} ${a} is not ${b}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(`does not hold: ${what}`);
}

export function folder() {
  const made = mkdtempSync(join(tmpdir(), 'ckgate-browser-'));
  ends.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Starts a program; its lines go to `onLine` until that returns something, which is the result. */
export function start(program, args, onLine, env = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH, ...env } });
  ends.push(
    () =>
      new Promise((done) => {
        if (child.exitCode !== null) return done();
        child.once('exit', done);
        child.kill('SIGTERM');
        setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
      }),
  );
  return new Promise((done, fail) => {
    child.once('exit', (code) => fail(new Error(`${args[0]} ended early with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = onLine(line);
      if (found !== undefined) done(found);
    });
  });
}

/** A server of our own at `http://localhost:PORT`; its origin. */
export async function serve(answer) {
  const server = createServer(answer);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: server.address().port, origin: `http://localhost:${server.address().port}` };
}

export const SERVER_KEY = 'sk-let-browser0server0key0of0the0account0000';
export const ADMIN_KEY = 'browser-admin-credential-0123456789abcdef';

/** A gate before an upstream at this port; its public and admin ports. */
export function startGate(program, upstreamPort, more = '') {
  const at = folder();
  for (const [name, text] of [['key', SERVER_KEY], ['credential', 'none'], ['admin', ADMIN_KEY]]) {
    writeFileSync(join(at, name), text, { mode: 0o600 });
  }
  writeFileSync(
    join(at, 'ckgate.toml'),
    `[listen]\npublic = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n[upstream]\nurl = "http://127.0.0.1:${upstreamPort}"\n` +
      `credential = { file = "${at}/credential" }\n[[accounts]]\nname = "default"\nserver_keys = [{ file = "${at}/key" }]\n` +
      `[store]\nurl = "sqlite:${at}/ckgate.db"\n${more.replaceAll('FOLDER', at)}`,
  );
  return start(program, ['serve', '--config', join(at, 'ckgate.toml')], (line) => {
    const event = JSON.parse(line);
    if (event.message !== 'listening') return undefined;
    return { gate: `http://${event['listen.public']}`, admin: `http://${event['listen.admin']}` };
  });
}

/** A token of the gate, made as a backend makes it. */
export async function createToken(gate, key, agent, hostname, access, seconds = 300) {
  const answer = await fetch(`${gate}/v1/client-side-access-tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      policy: [{ type: 'agent', id: agent, access }],
      hostname,
      expires_at: new Date(Date.now() + seconds * 1000).toISOString(),
    }),
  });
  equal(answer.status, 201, 'creating a token');
  return (await answer.json()).token;
}

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** A window of its own, with nothing of the others in it. */
export async function browser() {
  const launched = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
  ends.push(() => launched.close());
  return async (options = {}) => {
    const context = await launched.newContext({ viewport: { width: 900, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    const outside = [];
    page.on('request', (request) => {
      if (!/^(http:\/\/(127\.0\.0\.1|localhost):|data:|about:|blob:)/.test(request.url())) outside.push(request.url());
    });
    page.outside = outside;
    return page;
  };
}
