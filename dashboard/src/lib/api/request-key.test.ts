// Owns the tests of request keys.
import { expect, it } from 'vitest';
import { RequestKey } from './request-key';

it('the same request has the same key, another one another', () => {
  const key = new RequestKey();
  const first = key.of({ a: 1 });
  expect(key.of({ a: 1 })).toBe(first);
  expect(key.of({ a: 2 })).not.toBe(first);
  const second = key.of({ a: 1 });
  key.answered();
  expect(key.of({ a: 1 })).not.toBe(second);
  expect(new RequestKey().of({ a: 1 })).not.toBe(first);
});
