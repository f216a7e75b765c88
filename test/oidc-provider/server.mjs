// A real OpenID provider (panva/oidc-provider) for the end-to-end tests: an
// issuer that we did not write, with discovery, a key set and signed tokens.
//
//   node server.mjs
//
// It listens on a free port of 127.0.0.1 and prints one JSON line when ready:
//
//   {"issuer":"http://127.0.0.1:PORT","token_endpoint":"...","jwks_uri":"..."}
//
// A client is named after the algorithm that signs its tokens (all of RFC 7518
// section 3.1 that are asymmetric, and EdDSA); its secret is "secret". The token's aud is the resource asked for:
//
//   curl -u ES256:secret -d grant_type=client_credentials \
//     -d resource=https://id.acme.example http://127.0.0.1:PORT/token
//
// The process ends when its standard input closes, so that it never outlives
// the test that started it.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const ALGS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CURVES = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
const TOKEN_SECONDS = 300;

// One key for each algorithm: a key set as providers publish it, where alg and
// kid single out the key.
function signingKey(alg) {
  const pair = alg === 'EdDSA'
    ? generateKeyPairSync('ed25519')
    : alg in CURVES
      ? generateKeyPairSync('ec', { namedCurve: CURVES[alg] })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...pair.privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: `test-${alg}` };
}

function newProvider(issuer) {
  return new Provider(issuer, {
    jwks: { keys: ALGS.map(signingKey) },
    clients: ALGS.map((alg) => ({
      client_id: alg,
      client_secret: 'secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource, client) => ({
          audience: resource,
          scope: '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: TOKEN_SECONDS,
          jwt: { sign: { alg: client.clientId } },
        }),
      },
    },
  });
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', newProvider(issuer).callback());
  console.log(JSON.stringify({ issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }));
});

process.stdin.resume();
process.stdin.on('close', () => process.exit(0));
