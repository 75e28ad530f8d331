// The npm library `jose` as an independent reader and writer of our tokens.
//
//   node interop.mjs open cases.json    opens each token, prints what it read
//   node interop.mjs make cases.json    generates signing keys, prints tokens made with them
//
// The Rust test (tests/tests/interop) writes the cases and judges the answers;
// tests/interop/README.md describes both. Nothing here knows Waxseal's code:
// all it has is public JOSE calls, key documents and the headers it is told to write.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// ./tests/run installs the library outside the source tree.
const installed = createRequire(new URL('../../.cache/node/', import.meta.url));
const jose = await import(pathToFileURL(installed.resolve('jose')));

const { base64url } = jose;
const signers = new Map();

async function open(test) {
  let bytes = new TextEncoder().encode(test.token);
  const answer = { name: test.name };
  if (test.decrypt) {
    const key = await jose.importJWK(test.decrypt, test.key_management);
    const opened = await jose.compactDecrypt(bytes, key, {
      keyManagementAlgorithms: [test.key_management],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    bytes = opened.plaintext;
    answer.outer_header = opened.protectedHeader;
    answer.recipient_thumbprint = await jose.calculateJwkThumbprint(test.decrypt);
  }
  if (test.verify) {
    const key = await jose.importJWK(test.verify, test.alg);
    const opened = await jose.compactVerify(bytes, key, { algorithms: [test.alg] });
    bytes = opened.payload;
    answer.header = opened.protectedHeader;
    answer.signer_thumbprint = await jose.calculateJwkThumbprint(test.verify);
  }
  return { ...answer, payload: base64url.encode(bytes) };
}

async function make(test) {
  let bytes = base64url.decode(test.payload);
  const answer = { name: test.name };
  let token;
  if (test.header) {
    const { privateKey, jwk } = await signer(test.header.alg);
    token = await new jose.CompactSign(bytes)
      .setProtectedHeader({ ...test.header, kid: jwk.kid })
      .sign(privateKey);
    answer.verify = jwk;
    bytes = new TextEncoder().encode(token);
  }
  if (test.encrypt) {
    token = await new jose.CompactEncrypt(bytes)
      .setProtectedHeader(test.outer_header)
      .encrypt(await jose.importJWK(test.encrypt, test.outer_header.alg));
  }
  return { ...answer, token };
}

// One key pair for each algorithm in a run; its kid is the RFC 7638 thumbprint.
async function signer(alg) {
  if (!signers.has(alg)) {
    const pair = await jose.generateKeyPair(alg, { extractable: true });
    const jwk = await jose.exportJWK(pair.publicKey);
    jwk.kid = await jose.calculateJwkThumbprint(jwk);
    signers.set(alg, { privateKey: pair.privateKey, jwk: { ...jwk, use: 'sig', alg } });
  }
  return signers.get(alg);
}

const [direction, file] = process.argv.slice(2);
const act = { open, make }[direction];
if (!act || !file) {
  console.error('usage: node interop.mjs open|make cases.json');
  process.exit(2);
}
const answers = [];
for (const test of JSON.parse(readFileSync(file, 'utf8'))) {
  try {
    answers.push(await act(test));
  } catch (error) {
    answers.push({ name: test.name, error: `${error.name}: ${error.message}` });
  }
}
console.log(JSON.stringify(answers));
