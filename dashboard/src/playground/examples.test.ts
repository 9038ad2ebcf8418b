// Owns the proof that each example can be run as it stands.
import { readFileSync } from 'node:fs';
import { buildSchema, getOperationAST, parse, validate } from 'graphql';
import { expect, test } from 'vitest';
import { examples } from './examples';
import { isSubscription, meantOperation } from './wire';

const schema = buildSchema(readFileSync('../schema.graphql', 'utf8'));

test('every example is one named operation of the schema', () => {
  for (const { query } of examples) {
    const document = parse(query);
    expect(validate(schema, document).map((error) => error.message)).toEqual([]);
    expect(document.definitions).toHaveLength(1);
    expect(getOperationAST(document)?.name?.value).toBeDefined();
  }
});

test('an example has the variables that it asks for', () => {
  for (const { query, variables } of examples) {
    const asked = getOperationAST(parse(query))?.variableDefinitions ?? [];
    const given = Object.keys(JSON.parse(variables ?? '{}') as object);
    expect(given).toEqual(asked.map((definition) => definition.variable.name.value));
  }
});

test('the operation that runs decides whether it is a stream', () => {
  const document = parse('query A { viewer { tokenName } } subscription B { events { cursor } }');
  expect(isSubscription(document, 'A')).toBe(false);
  expect(isSubscription(document, 'B')).toBe(true);
  expect(isSubscription(document, 'C')).toBe(false);
  expect(isSubscription(parse('subscription { events { cursor } }'), null)).toBe(true);
});

test('the only operation is meant, whatever tab the name was of; among several the named one', () => {
  const follow = parse('subscription Follow { events { cursor } }');
  expect(meantOperation(follow, 'Enqueue')).toBe('Follow');
  expect(meantOperation(parse('{ viewer { tokenName } }'), 'Enqueue')).toBeNull();
  const several = parse('query A { viewer { tokenName } } query B { viewer { tokenName } }');
  expect(meantOperation(several, 'B')).toBe('B');
  expect(meantOperation(several, null)).toBeNull();
});
