// Verifies a token with npm jose, from the keys that a node publishes. Standard input: {token, keys, use, issuer,
// audience, typ}. Standard output: {header, claims}. NODE_EXTRA_CA_CERTS names the trust anchors of the node's TLS.
import { text } from 'node:stream/consumers';
import { createRemoteJWKSet, decodeProtectedHeader, importJWK, jwtVerify } from 'jose';

const { token, keys, use, issuer, audience, typ } = JSON.parse(await text(process.stdin));

// In a SPIFFE bundle `use` says what kind of SVID a key is for, which JOSE libraries do not know: pick the key as a SPIFFE
// library would.
async function ofBundle() {
  const bundle = await (await fetch(keys)).json();
  const { kid, alg } = decodeProtectedHeader(token);
  const key = bundle.keys.find((candidate) => candidate.kid === kid && candidate.use === use);
  if (!key) throw new Error(`no key ${kid} for ${use} in the bundle`);
  const { use: _, ...plain } = key;
  return importJWK(plain, alg);
}

const key = use === 'sig' ? createRemoteJWKSet(new URL(keys)) : await ofBundle();
const options = { algorithms: ['ES256', 'ES384', 'RS256', 'EdDSA'], audience, typ, requiredClaims: ['exp', 'iat', 'sub'] };
if (issuer) options.issuer = issuer;
const { payload, protectedHeader } = await jwtVerify(token, key, options);
console.log(JSON.stringify({ header: protectedHeader, claims: payload }));
