// The backends of the guide, as they stand there: each makes tokens that work, and for its users only.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { SERVER_KEY, check, equal, folder, holds, onEnd, serve, startGate } from './lab.mjs';

const AGENTS = { ann: 'agent-11111111-1111-4111-8111-111111111111', ben: 'agent-22222222-2222-4222-8222-222222222222' };
const PAGE = 'http://localhost:3000';

/** The first block of a language in a document. */
function block(file, language) {
  const [, code] = readFileSync(file, 'utf8').match(new RegExp(`\\\`{3}${language}\\n([^]*?)\\\`{3}`)) ?? [];
  holds(code, `a block of ${language} in ${file}`);
  return code;
}

const freePort = () =>
  new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });

async function startBackend(command, env) {
  const child = spawn(command[0], command.slice(1), { stdio: 'inherit', env: { ...process.env, ...env } });
  onEnd(() => child.kill());
  for (let tries = 0; tries < 300; tries += 1) {
    try {
      return await fetch(`http://127.0.0.1:${env.PORT}`, { method: 'POST', headers: { 'x-user': 'nobody' } });
    } catch {
      if (child.exitCode !== null) throw new Error(`the backend ended with ${child.exitCode}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  throw new Error('the backend does not listen');
}

export default async function guide(program) {
  const { CKGATE_GUIDE, CKGATE_SDK_FOLDER, CKGATE_SDK_PYTHON } = process.env;
  const upstream = await serve((request, answer) => answer.writeHead(200, { 'content-type': 'application/json' }).end('[]'));
  const { gate } = await startGate(program, upstream.port);
  const script = join(CKGATE_SDK_FOLDER, 'guide.mjs');
  writeFileSync(script, block(CKGATE_GUIDE, 'typescript'));
  const python = join(folder(), 'guide.py');
  writeFileSync(python, block(CKGATE_GUIDE, 'python'));
  for (const [name, command] of [['TypeScript', [process.execPath, script]], ['Python', [CKGATE_SDK_PYTHON, python]]]) {
    await check(`the guide's backend in ${name} makes tokens for its users only`, async () => {
      const port = await freePort();
      const env = { CKGATE_URL: gate, CKGATE_SERVER_KEY: SERVER_KEY, AGENTS: JSON.stringify(AGENTS), PAGE_ORIGIN: PAGE, PORT: String(port) };
      equal((await startBackend(command, env)).status, 401);
      const answer = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers: { 'x-user': 'ann' } });
      const { token, agent, expiresAt } = await answer.json();
      equal(agent, AGENTS.ann);
      holds(Date.parse(expiresAt) > Date.now(), expiresAt);
      const ask = (whose, origin) =>
        fetch(`${gate}/v1/agents/${whose}/messages`, { headers: { authorization: `Bearer ${token}`, origin } });
      equal((await ask(AGENTS.ann, PAGE)).status, 200);
      equal((await ask(AGENTS.ben, PAGE)).status, 403);
      equal((await ask(AGENTS.ann, 'https://evil.test')).status, 403);
    });
  }
}
