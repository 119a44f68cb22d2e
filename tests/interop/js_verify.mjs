// Verifies cards with @a2a-js/sdk: js_verify.mjs PUBLIC.pem CARD...
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { createPublicKey } from 'node:crypto';
import { verifyAgentCardSignature } from '@a2a-js/sdk';

const [keyFile, ...cards] = process.argv.slice(2);
const key = createPublicKey(readFileSync(keyFile));
const verify = verifyAgentCardSignature(async () => key);
console.debug = () => {}; // the SDK prints every entry it cannot verify
for (const file of cards) {
  const name = basename(file, '.json');
  try {
    await verify(JSON.parse(readFileSync(file, 'utf8')));
    process.stdout.write(`${name}\tverified\t\n`);
  } catch (error) {
    process.stdout.write(`${name}\trefused\t${String(error).replace(/\s+/g, ' ').slice(0, 200)}\n`);
  }
}
