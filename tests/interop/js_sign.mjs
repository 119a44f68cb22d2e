// Signs cards with @a2a-js/sdk: js_sign.mjs plain|typed KEY.pem HEADER.json OUT CARD...
// plain hands the SDK the card as JSON, typed hands it the SDK's own AgentCard: the bytes it signs differ,
// because a typed card loses its security schemes on the way to the canonical form.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createPrivateKey } from 'node:crypto';
import { AgentCard, canonicalizeAgentCard, generateAgentCardSignature } from '@a2a-js/sdk';

const [mode, keyFile, headerFile, out, ...cards] = process.argv.slice(2);
const header = JSON.parse(readFileSync(headerFile, 'utf8'));
const sign = generateAgentCardSignature(createPrivateKey(readFileSync(keyFile)), header);
for (const file of cards) {
  const name = basename(file, '.json');
  try {
    const json = JSON.parse(readFileSync(file, 'utf8'));
    const card = mode === 'typed' ? AgentCard.fromJSON(json) : json;
    writeFileSync(join(out, `${name}.canonical`), canonicalizeAgentCard(card));
    // How the SDK's agentCardHandler renders a body.
    writeFileSync(join(out, `${name}.json`), JSON.stringify(await sign(card)));
    process.stdout.write(`${name}\tsigned\t\n`);
  } catch (error) {
    process.stdout.write(`${name}\trefused\t${String(error).replace(/\s+/g, ' ').slice(0, 200)}\n`);
  }
}
