import { endAll, verdict } from './lab.mjs';

const [program, pictures, ...only] = process.argv.slice(2);
process.env.http_proxy = '';
let code = 1;
try {
  for (const suite of only.length ? only : ['./chat.mjs', './protocol.mjs', './console.mjs', './guide.mjs']) {
    await (await import(suite)).default(program, pictures);
  }
  code = verdict();
} catch (error) {
  console.log(`FAIL the suite ended early: ${error.stack}`);
} finally {
  await endAll();
}
process.exit(code);
