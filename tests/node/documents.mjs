// Validates every GraphQL document of the repository against its schema, with the reference implementation:
// node documents.mjs [ROOT]. Reads ROOT/schema.graphql, ROOT/src/client/queries/*.graphql, ROOT/examples/*.graphql and
// what ROOT/README.md fences as graphql. Every type, field, argument, input field and enum value needs a description.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  buildSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  parse,
  validate,
  validateSchema,
} from 'graphql';

const root = process.argv[2] ?? fileURLToPath(new URL('../..', import.meta.url));
const faults = [];

function attempt(what, act) {
  try {
    return act();
  } catch (error) {
    faults.push(`${what}: ${error.message}`);
    return undefined;
  }
}

/// What the schema says about itself, as [coordinate, description].
function* described(schema, types) {
  for (const type of types) {
    yield [type.name, type.description];
    if (isObjectType(type) || isInterfaceType(type)) {
      for (const field of Object.values(type.getFields())) {
        yield [`${type.name}.${field.name}`, field.description];
        for (const one of field.args) yield [`${type.name}.${field.name}(${one.name}:)`, one.description];
      }
    } else if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) yield [`${type.name}.${field.name}`, field.description];
    } else if (isEnumType(type)) {
      for (const value of type.getValues()) yield [`${type.name}.${value.name}`, value.description];
    }
  }
  for (const directive of schema.getDirectives().filter((one) => !isSpecifiedDirective(one))) {
    yield [`@${directive.name}`, directive.description];
    for (const one of directive.args) yield [`@${directive.name}(${one.name}:)`, one.description];
  }
}

/// Every document, as [where, text].
function* documents() {
  for (const folder of ['src/client/queries', 'examples']) {
    const names = existsSync(join(root, folder)) ? readdirSync(join(root, folder)).sort() : [];
    for (const name of names.filter((one) => one.endsWith('.graphql'))) {
      yield [`${folder}/${name}`, readFileSync(join(root, folder, name), 'utf8')];
    }
  }
  const readme = existsSync(join(root, 'README.md')) ? readFileSync(join(root, 'README.md'), 'utf8') : '';
  for (const found of readme.matchAll(/^ {0,3}```graphql[^\n]*\n([\s\S]*?)^ {0,3}```/gm)) {
    yield [`README.md:${readme.slice(0, found.index).split('\n').length}`, found[1]];
  }
}

const schema = attempt('schema.graphql', () => buildSchema(readFileSync(join(root, 'schema.graphql'), 'utf8')));
const types = Object.values(schema?.getTypeMap() ?? {}).filter(
  (type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type),
);
let count = 0;
if (schema) {
  for (const error of validateSchema(schema)) faults.push(`schema.graphql: ${error.message}`);
  for (const [coordinate, text] of described(schema, types)) {
    if (!text?.trim()) faults.push(`schema.graphql: ${coordinate} has no description`);
  }
  for (const [where, text] of documents()) {
    count += 1;
    const document = attempt(where, () => parse(text));
    const errors = document ? validate(schema, document) : [];
    for (const error of errors) faults.push(`${where}:${error.locations?.[0]?.line ?? 1}: ${error.message}`);
  }
  if (count === 0) faults.push(`there is no document in ${root}`);
}
if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exit(1);
}
console.log(`${count} documents, ${types.length} types: all valid`);
