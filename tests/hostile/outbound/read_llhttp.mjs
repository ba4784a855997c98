// Reads the bytes of each connection with Node's own parser, llhttp, and prints each request as a
// line of JSON.

import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";

const folder = process.argv[2];
const names = readdirSync(folder).filter((name) => name.endsWith(".bytes"));
const numbers = names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);

/** The requests in the bytes of one connection. */
function requestsOf(bytes) {
  return new Promise((resolve, reject) => {
    const found = [];
    const server = http.createServer({ insecureHTTPParser: false, maxHeaderSize: 1 << 16, requestTimeout: 0 });
    server.on("request", (request, response) => {
      const place = found.length;
      found.push(null);
      const pieces = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("end", () => {
        if (request.rawTrailers.length > 0) reject(new Error("trailers"));
        const raw = request.rawHeaders;
        const headers = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]]] : []));
        const body = Buffer.concat(pieces).toString("hex");
        found[place] = { method: request.method, target: request.url, headers, body };
        response.end();
      });
    });
    for (const name of ["clientError", "connect", "upgrade", "checkContinue", "checkExpectation"]) {
      server.on(name, (what) => reject(new Error(`${name}: ${what.code ?? ""} ${what.message ?? ""}`)));
    }
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1", () => client.end(bytes));
      client.resume();
      client.on("error", reject);
      client.on("close", () => {
        server.close();
        resolve(found);
      });
    });
  });
}

for (const connection of numbers) {
  const found = await requestsOf(readFileSync(join(folder, `${connection}.bytes`)));
  for (const request of found) process.stdout.write(`${JSON.stringify({ connection, ...request })}\n`);
}
