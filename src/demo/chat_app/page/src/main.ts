import Letta from '@letta-ai/letta-client';
import { type Session, freshToken, logIn, logOut, uselessToken } from './backend';
import { needsToken, refusalOf } from './refusal';

const find = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const messages = find<HTMLOListElement>('messages');
const text = find<HTMLTextAreaElement>('text');
const problem = find<HTMLDivElement>('problem');

let session: Session | undefined;
let refreshes = 0;
let refreshTimer = 0;
let answering: AbortController | undefined;

/** The real SDK, with the user's own token: no proxy of the page's in between. */
const client = (token: string): Letta => new Letta({ baseURL: session!.gate, apiKey: token, maxRetries: 0 });

/** Takes a session over, and asks for the next token before this one expires. */
function use(next: Session): void {
  session = next;
  const left = Date.parse(next.expiresAt) - Date.now();
  window.clearTimeout(refreshTimer);
  // A third of the lifetime is left for a refresh that fails at first.
  refreshTimer = window.setTimeout(refresh, Math.max(left * (2 / 3), 500));
  showToken();
}

async function refresh(): Promise<void> {
  const before = session;
  try {
    const next = await freshToken();
    if (session !== before) return;
    refreshes += 1;
    use(next);
  } catch (error) {
    showProblem(error);
  }
}

function showToken(): void {
  if (!session) return;
  const left = Math.max(0, Math.round((Date.parse(session.expiresAt) - Date.now()) / 1000));
  find('token').textContent =
    `The token is bound to this page and expires in ${left} s; it was refreshed ${refreshes} times.`;
}

/** Shows the chat to whoever is logged in, the question who it is to everybody else. */
function showView(): void {
  find('login').hidden = session !== undefined;
  for (const id of ['chat', 'refusals', 'log-out']) find(id).hidden = session === undefined;
  find('who').textContent = session ? `You are ${session.user}` : '';
}

async function start(user: string): Promise<void> {
  clearProblem();
  try {
    use(await logIn(user));
    showView();
    const letta = client(session!.token);
    const agent = await letta.agents.retrieve(session!.agentId);
    find('agent').textContent = `This is ${agent.name}, ${agent.id}`;
    for await (const message of letta.agents.messages.list(session!.agentId, { order: 'asc', limit: 50 })) {
      const said = message as { message_type?: string; content?: unknown };
      if (said.message_type === 'user_message') show('mine', said.content);
      if (said.message_type === 'assistant_message') show('agents', said.content);
    }
  } catch (error) {
    showProblem(error);
  }
}

const plain = (content: unknown): string =>
  typeof content === 'string'
    ? content
    : Array.isArray(content)
      ? content.map((part: { text?: string }) => part.text ?? '').join('')
      : '';

function show(whose: 'mine' | 'agents', content: unknown): HTMLLIElement {
  const item = document.createElement('li');
  item.className = whose;
  item.textContent = plain(content);
  messages.append(item);
  item.scrollIntoView({ block: 'nearest' });
  return item;
}

/** Ends the session: its tokens are deleted, and nothing of it stays on the page. */
async function end(): Promise<void> {
  window.clearTimeout(refreshTimer);
  try {
    await logOut();
    session = undefined;
    refreshes = 0;
    messages.replaceChildren();
    for (const id of ['agent', 'token']) find(id).textContent = '';
    showView();
    document.querySelector<HTMLButtonElement>('[data-user]')?.focus();
  } catch (error) {
    showProblem(error);
  }
}

/** Sends a message, and shows the answer as it comes. */
async function send(content: string): Promise<void> {
  clearProblem();
  show('mine', content);
  const item = show('agents', '');
  answering = new AbortController();
  find('stop').hidden = false;
  try {
    const stream = await client(session!.token).agents.messages.stream(
      session!.agentId,
      { messages: [{ role: 'user', content }], stream_tokens: true },
      { signal: answering.signal },
    );
    for await (const event of stream) {
      const piece = event as { message_type?: string; content?: unknown };
      if (piece.message_type === 'assistant_message') item.textContent += plain(piece.content);
    }
  } catch (error) {
    item.classList.add('cut');
    if (!answering.signal.aborted) showProblem(error);
  } finally {
    find('stop').hidden = true;
  }
}

/** Requests that the token does not permit. */
async function tryRefused(what: string): Promise<void> {
  clearProblem();
  const { token, agentId, otherAgentId } = session!;
  try {
    const own = client(token);
    if (what === 'other') await own.agents.messages.list(otherAgentId);
    else if (what === 'write') await own.agents.update(agentId, { model: 'openai/another' });
    else if (what === 'mint') await own.accessTokens.list();
    else await client((await uselessToken(what as 'deleted' | 'expired')).token).agents.messages.list(agentId);
    showProblem(new Error('this was not refused'));
  } catch (error) {
    showProblem(error);
  }
}

function showProblem(error: unknown): void {
  const refusal = refusalOf(error);
  const code = document.createElement('strong');
  code.textContent = refusal.code;
  problem.replaceChildren(code, ` ${refusal.message}`);
  if (refusal.requestId) problem.append(` (request ${refusal.requestId})`);
  if (session && needsToken(refusal)) problem.append(' Log in again, or wait for the next token.');
}

const clearProblem = (): void => problem.replaceChildren();

for (const button of document.querySelectorAll<HTMLButtonElement>('[data-user]')) {
  button.addEventListener('click', () => void start(button.dataset['user'] ?? ''));
}
for (const button of document.querySelectorAll<HTMLButtonElement>('[data-try]')) {
  button.addEventListener('click', () => void tryRefused(button.dataset['try'] ?? ''));
}
find('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = text.value;
  text.value = '';
  void send(content);
});
text.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    if (text.value.trim()) find<HTMLFormElement>('form').requestSubmit();
  }
});
find('stop').addEventListener('click', () => answering?.abort());
find('log-out').addEventListener('click', () => void end());
window.setInterval(showToken, 1000);
