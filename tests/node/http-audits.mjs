// Runs every audit of the GraphQL over HTTP suite against a running daemon: URL=… TOKEN=… node http-audits.mjs
import { serverAudits } from 'graphql-http';
import { authorization, url } from './settings.mjs';

const fetchFn = (target, init = {}) =>
  fetch(target, { ...init, headers: { ...init.headers, authorization } });

const audits = serverAudits({ url, fetchFn });
let passed = 0;
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status === 'ok') {
    passed += 1;
  } else {
    console.log(`${result.status}  ${result.id} ${result.name}: ${result.reason ?? ''}`);
  }
}
console.log(`${passed} of ${audits.length} audits passed`);
process.exit(passed === audits.length && passed > 0 ? 0 : 1);
