// The demo's chat, as two users see it.
import { browser, check, equal, holds, start } from './lab.mjs';

const text = (page, id) => page.locator(`#${id}`).innerText();

async function logIn(page, url, user) {
  await page.goto(url);
  await page.click(`[data-user=${user}]`);
  await page.waitForFunction(() => document.getElementById('agent').textContent !== '');
}

async function say(page, words) {
  await page.fill('#text', words);
  await page.click('#send');
}

const lastAnswer = (page) => page.locator('#messages .agents').last();
const ended = (page) => page.waitForSelector('#stop', { state: 'hidden' });

async function refused(page, what) {
  await page.click(`[data-try=${what}]`);
  await page.waitForFunction(() => document.getElementById('problem').textContent !== '');
  return text(page, 'problem');
}

export default async function chat(program, pictures) {
  const upstream = process.env.CKGATE_DEMO_UPSTREAM;
  const real = upstream ? ['--upstream', upstream] : [];
  const places = ['--listen', '127.0.0.1:0', '--listen-admin', '127.0.0.1:0', '--listen-chat', '127.0.0.1:0'];
  const env = { LETTA_SERVER_PASSWORD: process.env.LETTA_SERVER_PASSWORD ?? '' };
  const long = upstream ? 'Write a poem. [[words 400 60]]' : '[[words 400 60]]';
  const url = await start(program, ['demo', ...places, ...real, '--token-lifetime', '20s'], (line) => line.match(/^# chat +(\S+)/)?.[1], env);
  const open = await browser();
  const [ann, ben] = [await open(), await open()];

  await check('two users in two windows each see their own agent', async () => {
    await logIn(ann, url, 'ann');
    await logIn(ben, url, 'ben');
    const agents = [await text(ann, 'agent'), await text(ben, 'agent')];
    holds(/agent-[0-9a-f-]{36}/.test(agents[0]) && /ann/i.test(agents[0]), agents[0]);
    holds(/ben/i.test(agents[1]) && agents[0] !== agents[1], agents[1]);
    equal(await text(ann, 'problem'), '');
  });

  await check('what one user says is not seen by the other', async () => {
    await say(ann, 'this is only for ann');
    await ended(ann);
    holds((await text(ann, 'messages')).includes('this is only for ann'), 'ann sees it');
    await logIn(ben, url, 'ben');
    holds(!(await text(ben, 'messages')).includes('only for ann'), 'ben does not');
  });

  await check('a streamed answer appears as it comes', async () => {
    await say(ann, '[[words 25 60]]');
    const lengths = new Set();
    for (let sample = 0; sample < 200 && !(await ann.locator('#stop').isHidden()); sample += 1) {
      lengths.add((await lastAnswer(ann).textContent()).length);
      await ann.waitForTimeout(20);
    }
    holds(lengths.size >= 5, `only ${lengths.size} lengths were seen`);
  });
  await ann.screenshot({ path: `${pictures}/chat-streamed.png` });

  for (const [what, code, words] of [
    ['other', 'permission_denied', 'read_messages'],
    ['write', 'permission_denied', 'write_agent'],
    ['mint', 'route_not_allowed', 'server key'],
    ['deleted', 'token_invalid', 'deleted'],
    ['expired', 'token_expired', 'expired'],
  ]) {
    await check(`the page tells why this is refused: ${what}`, async () => {
      const told = await refused(ann, what);
      holds(told.startsWith(code) && told.includes(words), told);
      holds(/request [0-9a-f]{32}/.test(told), 'it names the request');
      if (what === 'other') await ann.screenshot({ path: `${pictures}/chat-refused.png` });
    });
  }

  await check('the page renews its token before it expires', async () => {
    await ann.waitForFunction(() => /refreshed [1-9]/.test(document.getElementById('token').textContent), null, { timeout: 30_000 });
    await say(ann, 'with the next token');
    await ended(ann);
    equal(await text(ann, 'problem'), '');
  });

  /// O-13: a real browser, the real SDK, and a token that is bound to another page.
  await check('a page of another origin is refused, and says so', async () => {
    const elsewhere = await open();
    await elsewhere.goto(url.replace('localhost', '127.0.0.1'));
    await elsewhere.click('[data-user=ann]');
    await elsewhere.waitForFunction(() => document.getElementById('problem').textContent !== '');
    const told = await text(elsewhere, 'problem');
    holds(told.includes('origin') && told.includes('http://127.0.0.1:'), told);
    await elsewhere.screenshot({ path: `${pictures}/chat-wrong-origin.png` });
  });

  await check('a deletion ends an open stream on the page within a second', async () => {
    await say(ben, long);
    await ben.waitForFunction(() => [...document.querySelectorAll('#messages .agents')].pop().textContent.length > 20);
    const deleted = ben.waitForResponse((answer) => answer.url().endsWith('/api/logout'));
    const cut = ben.waitForFunction(() => document.getElementById('problem').textContent.startsWith('token_revoked')).then(() => Date.now());
    await ben.click('#log-out');
    equal((await deleted).status(), 200);
    const since = Date.now();
    const took = (await cut) - since;
    holds(took < 1000, `it took ${took} ms`);
    const told = await text(ben, 'problem');
    holds(told.includes('deleted') && told.includes('refusals/token_revoked'), told);
    await ben.screenshot({ path: `${pictures}/chat-cut.png` });
  });

  await check('after logging out the page asks who it is, and shows nothing of before', async () => {
    await ben.waitForSelector('#login');
    for (const id of ['chat', 'refusals', 'log-out']) holds(await ben.locator(`#${id}`).isHidden(), `${id} is hidden`);
    for (const id of ['messages', 'agent', 'token', 'who']) equal(await ben.locator(`#${id}`).textContent(), '', id);
    await ben.waitForTimeout(1500);
    equal(await ben.locator('#token').textContent(), '', 'nor a moment later');
    await ben.click('[data-user=ann]');
    await ben.waitForFunction(() => /ann/i.test(document.getElementById('agent').textContent));
    await ben.waitForFunction(() => document.getElementById('messages').textContent.includes('only for ann'));
    equal(await text(ben, 'problem'), '');
  });

  await check('the page fits a phone, and asks nobody else', async () => {
    const phone = await open({ viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
    await logIn(phone, url, 'ann');
    const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    holds(wide <= 0, `it is ${wide} px too wide`);
    await phone.screenshot({ path: `${pictures}/chat-phone.png`, fullPage: true });
    equal([...phone.outside, ...ann.outside, ...ben.outside], []);
  });
}
