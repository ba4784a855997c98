// The operator's console.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ADMIN_KEY, SERVER_KEY, browser, check, createToken, equal, holds, serve, startGate } from './lab.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const A = 'agent-11111111-1111-4111-8111-111111111111';
const B = 'agent-22222222-2222-4222-8222-222222222222';
const ORIGIN = 'https://app.test';
const VIEWS = ['overview', 'tokens', 'decisions', 'routes'];

/** What axe finds wrong with the page, in the rules of WCAG 2.2 A and AA. */
async function accessibility(page) {
  const { violations } = await page.evaluate(`(async () => { ${AXE}; return axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }); })()`);
  return violations.map((found) => `${found.id}: ${found.nodes.map((node) => node.target).join(' ')}`);
}

async function logIn(page, admin, credential = ADMIN_KEY) {
  await page.goto(admin);
  await page.fill('#credential', credential);
  await page.click('button');
}

const view = async (page, name) => {
  await page.click(`nav a[href="#${name}"]`);
  await page.waitForSelector(`nav a[href="#${name}"][aria-current=page]`);
};

export default async function console_(program, pictures) {
  const upstream = await serve((request, answer) => {
    if (request.url.endsWith('/stream')) {
      answer.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"message_type":"ping"}\n\n');
      return;
    }
    answer.writeHead(200, { 'content-type': 'application/json' }).end('[]');
  });
  const { gate, admin } = await startGate(program, upstream.port, '[console]\ncredential = { file = "FOLDER/admin" }\n');
  const use = (token, path, method = 'GET', body = undefined) =>
    fetch(`${gate}${path}`, { method, body, headers: { authorization: `Bearer ${token}`, origin: ORIGIN } });
  const open = await browser();
  const page = await open({ permissions: ['clipboard-read', 'clipboard-write'] });
  const api = (path, init = {}) => fetch(`${admin}/api/${path}`, init);
  const entitled = { authorization: `Bearer ${ADMIN_KEY}` };

  await check('without a credential in the configuration there is no console', async () => {
    const bare = await startGate(program, upstream.port);
    for (const path of ['/', '/console.js', '/api/overview', '/api/tokens']) {
      equal((await fetch(`${bare.admin}${path}`)).status, 404, path);
    }
  });

  await check('nothing is told without the credential, and nothing at all on the public listener', async () => {
    for (const path of ['overview', 'routes', 'decisions', 'tokens', 'events']) {
      equal((await api(path)).status, 401, path);
      equal((await api(path, { headers: { authorization: 'Bearer wrong' } })).status, 401, path);
      holds((await fetch(`${gate}/api/${path}`, { headers: entitled })).status === 401, `${path} on the public listener`);
    }
  });

  await check('a wrong credential is told so, the right one opens the console', async () => {
    await logIn(page, admin, 'not the credential');
    await page.waitForFunction(() => document.querySelector('[role=alert]').textContent.includes('not the admin credential'));
    equal(await accessibility(page), []);
    await page.fill('#credential', ADMIN_KEY);
    await page.click('button');
    await page.waitForSelector('.facts');
  });

  await check('a page elsewhere can neither log in nor use the session', async () => {
    const evil = 'http://evil.test';
    const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    equal((await api('overview', { headers: { cookie } })).status, 200, 'the cookie itself is good');
    equal((await api('tokens/00000000000000000000000000000000', { method: 'DELETE', headers: { cookie, origin: evil } })).status, 403);
    equal((await api('tokens/00000000000000000000000000000000', { method: 'DELETE', headers: { cookie } })).status, 403);
    const body = JSON.stringify({ credential: ADMIN_KEY });
    equal((await api('session', { method: 'POST', body, headers: { origin: evil } })).status, 403);
    const [session] = await page.context().cookies();
    equal([session.httpOnly, session.sameSite], [true, 'Strict']);
  });

  await check('the page has a strict content security policy', async () => {
    const policy = (await fetch(admin)).headers.get('content-security-policy');
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "connect-src 'self'"]) holds(policy.includes(part), part);
    holds(!policy.includes('unsafe'), policy);
  });

  const token = await createToken(gate, SERVER_KEY, A, ORIGIN, ['read_messages', 'write_messages']);
  const other = await createToken(gate, SERVER_KEY, B, 'https://other.test', ['read_agent']);

  await check('decisions appear as they happen, with their explanation', async () => {
    await view(page, 'decisions');
    equal((await use(token, `/v1/agents/${A}/messages`)).status, 200);
    equal((await use(token, `/v1/agents/${B}/messages`)).status, 403);
    await page.waitForSelector('tr.permit');
    const denied = await page.locator('tr.deny:has-text("permission_denied")').first().innerText();
    holds(denied.includes('needs the permission'), denied);
    await page.screenshot({ path: `${pictures}/console-decisions.png` });
  });

  await check('tokens are found by agent and hostname, with last use and permissions never used', async () => {
    const search = page.locator('form[aria-label="Search tokens"]');
    const find = async (label, text, until, wanted) => {
      await search.getByLabel(label).fill(text);
      await search.getByRole('button', { name: 'Search' }).click();
      await page.waitForFunction(until, wanted);
    };
    await view(page, 'tokens');
    await page.waitForSelector(`td:has-text("${A}")`);
    // What was used is written every few seconds.
    for (let tries = 0; tries < 60; tries += 1) {
      if (/read_messages: 1 request\b/.test(await page.locator(`tr:has-text("${A}")`).innerText())) break;
      await page.waitForTimeout(500);
      await find('Agent', '', () => document.querySelectorAll('tbody tr').length === 2);
    }
    const row = await page.locator(`tr:has-text("${A}")`).innerText();
    holds(/read_messages: 1 request\b/.test(row) && row.includes('write_messages: never used') && /\d\d:\d\d UTC/.test(row), row);
    await find('Agent', B, (agent) => !document.querySelector('tbody').innerText.includes(agent), A);
    holds(/\bnever\b/.test(await page.locator('tbody').innerText()), 'never used');
    await search.getByLabel('Agent').fill('');
    await find('Hostname', 'OTHER.test', () => document.querySelectorAll('tbody tr').length === 1);
    await find('Hostname', '', () => document.querySelectorAll('tbody tr').length === 2);
    await page.screenshot({ path: `${pictures}/console-tokens.png` });
  });

  await check('no text of a token is in the page or in what the page is told', async () => {
    for (const name of VIEWS) {
      await view(page, name);
      await page.waitForTimeout(300);
      holds(!(await page.content()).includes('ck-let-'), name);
    }
    for (const path of ['overview', 'decisions', 'tokens']) {
      const text = await (await api(path, { headers: entitled })).text();
      holds(!text.includes('ck-let-') && !text.includes(token.slice(10)) && !text.includes(other.slice(10)), path);
    }
  });

  await check('a new token is copied and never shown, and works', async () => {
    await view(page, 'tokens');
    await page.click('summary');
    const form = page.locator('form[aria-label="Create a token"]');
    await form.getByPlaceholder('agent-…').fill(A);
    await form.getByPlaceholder('https://').fill(ORIGIN);
    await form.getByRole('button', { name: 'Create' }).click();
    await form.getByRole('button', { name: 'Copy the token' }).waitFor();
    holds(!(await page.content()).includes('ck-let-'), 'it is not in the page');
    await form.getByRole('button', { name: 'Copy the token' }).click();
    await page.waitForSelector('text=Copied.');
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    equal((await use(copied, `/v1/agents/${A}/messages`)).status, 200);
    await form.getByPlaceholder('https://').fill('https://*.test');
    await form.getByRole('button', { name: 'Create' }).click();
    await page.waitForFunction(() => [...document.querySelectorAll('[role=alert]')].some((p) => p.textContent.includes('wildcard')));
  });

  await check('open streams are shown, and deleting the token cuts them', async () => {
    const stream = await use(token, `/v1/agents/${A}/messages/stream`, 'POST', '{"input":"x"}');
    equal(stream.status, 200);
    const row = page.locator('tr', { has: page.locator('text=streams open') });
    await row.waitFor();
    await row.getByRole('button', { name: /^Delete token/ }).click();
    await row.getByRole('button', { name: 'Delete it, cut its streams' }).click();
    holds((await stream.text()).includes('token_revoked'), 'the stream was cut');
    equal((await use(token, `/v1/agents/${A}/messages`)).status, 401);
  });

  await check('older tokens are found as well', async () => {
    await Promise.all(Array.from({ length: 58 }, () => createToken(gate, SERVER_KEY, A, 'https://many.test', ['read_agent'])));
    await view(page, 'tokens');
    await page.click('form[aria-label="Search tokens"] button');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 50);
    holds((await page.locator('tbody').innerText()).includes('many.test'), 'the newest come first');
    await page.screenshot({ path: `${pictures}/console-many-tokens.png`, fullPage: true });
    await page.getByRole('button', { name: 'Older tokens' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 60);
    equal(await page.getByRole('button', { name: 'Older tokens' }).count(), 0);
    holds((await page.locator('p[role=status]').allInnerTexts()).join().includes('60 live tokens found among 60'), 'what was looked at is told');
  });

  await check('the route table is a table, searched', async () => {
    await view(page, 'routes');
    await page.fill('input[type=search]', 'agents.messages.stream');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length >= 1 && document.querySelectorAll('tbody tr').length < 5);
    holds((await page.locator('tbody').innerText()).includes('write_messages'), 'it says what is needed');
    await page.screenshot({ path: `${pictures}/console-routes.png` });
  });

  await check('rate, refusals and latency are charted', async () => {
    await view(page, 'overview');
    for (let count = 0; count < 20; count += 1) await use(other, `/v1/agents/${A}/messages`);
    await page.waitForFunction(() => document.querySelectorAll('figcaption')[1].textContent.match(/at most (\d+)/)[1] >= 5);
    equal(await page.locator('figure svg').count(), 3);
    await page.screenshot({ path: `${pictures}/console-overview.png` });
  });

  for (const colorScheme of ['light', 'dark']) {
    await check(`every view is accessible, on a phone too (${colorScheme})`, async () => {
      for (const viewport of [{ width: 1200, height: 900 }, { width: 360, height: 740 }]) {
        const window = await open({ viewport, colorScheme });
        await logIn(window, admin);
        await window.waitForSelector('.facts');
        for (const name of VIEWS) {
          await view(window, name);
          await window.waitForTimeout(200);
          if (name === 'tokens') await window.click('summary');
          equal(await accessibility(window), [], `${name} at ${viewport.width}`);
          const wide = await window.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          holds(wide <= 0, `${name} is ${wide} px too wide at ${viewport.width}`);
        }
        if (viewport.width === 360) await window.screenshot({ path: `${pictures}/console-phone-${colorScheme}.png`, fullPage: true });
        equal(window.outside, []);
        await window.context().close();
      }
    });
  }

  await check('it is usable by keyboard alone', async () => {
    const window = await open();
    await window.goto(admin);
    await window.waitForSelector('#credential');
    await window.keyboard.press('Tab');
    await window.keyboard.type(ADMIN_KEY);
    await window.keyboard.press('Enter');
    await window.waitForSelector('.facts');
    await window.keyboard.press('Tab');
    await window.keyboard.press('Tab');
    await window.keyboard.press('Enter');
    await window.waitForSelector('nav a[href="#tokens"][aria-current=page]');
    const outline = await window.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    equal(outline, 'solid', 'the focus is seen');
  });

  await check('after logging out the session is over', async () => {
    const [session] = await page.context().cookies();
    await page.click('text=Log out');
    await page.waitForSelector('#credential');
    equal((await api('overview', { headers: { cookie: `${session.name}=${session.value}` } })).status, 401);
  });
  equal(page.outside, []);
}
