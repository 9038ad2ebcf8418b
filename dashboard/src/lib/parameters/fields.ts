// Owns what a form shows of a JSON Schema: which fields, of which kind, with which words. What a field cannot hold is a
// field of JSON; the daemon checks everything again and says at which field it does not fit. Pure.

type Schema = Readonly<Record<string, unknown>>;

export interface Option {
  readonly text: string;
  readonly value: unknown;
}

interface Common {
  /** The steps to it within the parameters. */
  readonly path: readonly string[];
  readonly label: string;
  /** Description and bounds, in words. */
  readonly hint: string;
  readonly isNeeded: boolean;
  /** undefined: there is none. */
  readonly preset: unknown;
}
export interface TextField extends Common {
  readonly kind: 'text';
  readonly input: 'text' | 'email' | 'url' | 'date' | 'password' | 'area';
  readonly example: string;
  readonly longest: number | null;
}
export interface NumberField extends Common {
  readonly kind: 'number';
  readonly isWhole: boolean;
  readonly least: number | null;
  readonly most: number | null;
}
export interface FlagField extends Common {
  readonly kind: 'flag';
}
export interface ChoiceField extends Common {
  readonly kind: 'choice';
  readonly options: readonly Option[];
}
export interface FixedField extends Common {
  readonly kind: 'fixed';
  readonly value: unknown;
}
/** Some of some values. */
export interface PickField extends Common {
  readonly kind: 'pick';
  readonly options: readonly Option[];
}
/** Values of one kind, one a line. */
export interface ListField extends Common {
  readonly kind: 'list';
  readonly item: 'text' | 'whole' | 'number';
}
export interface JsonField extends Common {
  readonly kind: 'json';
}
export interface GroupField extends Common {
  readonly kind: 'group';
  readonly fields: readonly ParameterField[];
}
export type ParameterField =
  TextField | NumberField | FlagField | ChoiceField | FixedField | PickField | ListField | JsonField | GroupField;

const REFERENCES_MAX = 8;
/** A text that may be longer than this has room for more than a line. */
const LINE_CHARACTERS = 200;
const OPTIONS_MAX = 200;

export function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields of the parameters; null when the schema lists none, so that they are written as JSON. */
export function fieldsOf(schema: unknown): readonly ParameterField[] | null {
  if (!isObject(schema)) return null;
  const fields = members(resolved(schema, schema).schema, schema, []);
  return fields.length === 0 ? null : fields;
}

/** The path of a field as a JSON pointer, as the daemon writes it. */
export function pointer(path: readonly string[]): string {
  return path.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function members(schema: Schema, root: Schema, path: readonly string[]): ParameterField[] {
  const properties = isObject(schema['properties']) ? schema['properties'] : {};
  const needed = texts(schema['required']);
  // A needed one that is not listed may be anything.
  const names = [...Object.keys(properties), ...needed.filter((name) => !(name in properties))];
  const fields = names.map((name) => field(properties[name] ?? true, root, [...path, name], needed.includes(name)));
  // The daemon keeps no order of properties: what must be filled in stands first.
  const isOpen = (each: ParameterField) => each.isNeeded && each.preset === undefined;
  return [...fields.filter(isOpen), ...fields.filter((each) => !isOpen(each))];
}

function field(written: unknown, root: Schema, path: readonly string[], isNeeded: boolean): ParameterField {
  const { schema, isNullable } = resolved(isObject(written) ? written : {}, root);
  const name = path.at(-1) ?? '';
  const title = typeof schema['title'] === 'string' ? schema['title'].trim() : '';
  // The name is what a command and the API say; a title that says more stands before it.
  const label = title === '' || title.toLowerCase() === name.toLowerCase() ? name : `${title} (${name})`;
  const common: Common = {
    path,
    label,
    hint: hint(schema),
    isNeeded: isNeeded && !(isNullable && schema['default'] === null),
    preset: schema['default'],
  };
  if ('const' in schema) return { ...common, kind: 'fixed', value: schema['const'] };
  const options = optionsOf(schema);
  if (options !== null) return { ...common, kind: 'choice', options };
  return byType(schema, root, common);
}

function byType(schema: Schema, root: Schema, common: Common): ParameterField {
  switch (typeOf(schema)) {
    case 'string':
      return { ...common, kind: 'text', ...textWays(schema) };
    case 'integer':
    case 'number':
      return {
        ...common,
        kind: 'number',
        isWhole: typeOf(schema) === 'integer',
        least: number(schema['minimum']),
        most: number(schema['maximum']),
      };
    case 'boolean':
      return { ...common, kind: 'flag' };
    case 'array':
      return list(schema, root, common);
    case 'object': {
      const fields = common.path.length === 1 ? members(schema, root, common.path) : [];
      return fields.length > 0 ? { ...common, kind: 'group', fields } : { ...common, kind: 'json' };
    }
    default:
      return { ...common, kind: 'json' };
  }
}

function list(schema: Schema, root: Schema, common: Common): ParameterField {
  if (!isObject(schema['items'])) return { ...common, kind: 'json' };
  const { schema: item } = resolved(schema['items'], root);
  const options = optionsOf(item);
  if (options !== null) return { ...common, kind: 'pick', options };
  const type = typeOf(item);
  const kinds = { string: 'text', integer: 'whole', number: 'number' } as const;
  if (type === 'string' || type === 'integer' || type === 'number') {
    const joined = [common.hint, 'One a line.'].filter(Boolean).join(' ');
    return { ...common, kind: 'list', item: kinds[type], hint: joined };
  }
  return { ...common, kind: 'json' };
}

function textWays(schema: Schema): Pick<TextField, 'input' | 'example' | 'longest'> {
  const longest = number(schema['maxLength']);
  const examples = Array.isArray(schema['examples']) ? schema['examples'] : [];
  const format = schema['format'];
  const example = typeof examples[0] === 'string' ? examples[0] : format === 'date-time' ? '2026-01-31T12:00:00Z' : '';
  const isLong = (longest ?? 0) > LINE_CHARACTERS || 'contentMediaType' in schema || holdsLines(schema['default']);
  const input =
    format === 'email'
      ? 'email'
      : format === 'uri'
        ? 'url'
        : format === 'date'
          ? 'date'
          : format === 'password' || schema['writeOnly'] === true
            ? 'password'
            : isLong
              ? 'area'
              : 'text';
  return { input, example, longest };
}

const holdsLines = (value: unknown) => typeof value === 'string' && value.includes('\n');

/** What the schema and its references say together, and whether null fits too. */
function resolved(written: Schema, root: Schema): { schema: Schema; isNullable: boolean } {
  let schema = written;
  let isNullable = false;
  for (let turn = 0; turn < REFERENCES_MAX; turn += 1) {
    const { $ref: reference, ...rest } = schema;
    if (typeof reference === 'string') {
      schema = { ...at(root, reference), ...rest };
      continue;
    }
    // "This or null", as generators write what may be left out.
    const branches = schema['anyOf'] ?? schema['oneOf'];
    const real = Array.isArray(branches)
      ? branches.filter((branch) => isObject(branch) && branch['type'] !== 'null')
      : [];
    if (!Array.isArray(branches) || real.length !== 1 || branches.length === 1 || !isObject(real[0])) break;
    const others = Object.fromEntries(Object.entries(schema).filter(([key]) => key !== 'anyOf' && key !== 'oneOf'));
    isNullable = true;
    schema = { ...real[0], ...others };
  }
  if (Array.isArray(schema['type']) && schema['type'].includes('null')) isNullable = true;
  return { schema, isNullable };
}

function at(root: Schema, reference: string): Schema {
  if (!reference.startsWith('#')) return {};
  let part: unknown = root;
  for (const step of reference.slice(1).split('/').slice(1)) {
    part = isObject(part) ? part[decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
  }
  return isObject(part) ? part : {};
}

function typeOf(schema: Schema): string | null {
  const type = schema['type'];
  if (typeof type === 'string') return type;
  const real = texts(type).filter((each) => each !== 'null');
  if (real.length === 1) return real[0] ?? null;
  return real.length === 0 && isObject(schema['properties']) ? 'object' : null;
}

/** The values of an enum, or of a choice between constants with titles. */
function optionsOf(schema: Schema): readonly Option[] | null {
  const listed = schema['enum'];
  if (Array.isArray(listed) && listed.length > 0 && listed.length <= OPTIONS_MAX) {
    return listed.map((value: unknown) => ({ text: plain(value), value }));
  }
  const branches = schema['oneOf'] ?? schema['anyOf'];
  if (!Array.isArray(branches) || branches.length === 0 || branches.length > OPTIONS_MAX) return null;
  if (!branches.every((branch) => isObject(branch) && 'const' in branch)) return null;
  return (branches as Schema[]).map((branch) => {
    const title = typeof branch['title'] === 'string' ? branch['title'] : plain(branch['const']);
    return { text: title, value: branch['const'] };
  });
}

/** A value in a form: a text as it is, anything else as JSON. */
export function plain(value: unknown): string {
  return typeof value === 'string' ? value : ((JSON.stringify(value) as string | undefined) ?? '');
}

function hint(schema: Schema): string {
  const said = typeof schema['description'] === 'string' ? schema['description'].trim() : '';
  const bounds = [
    bound('at least', schema['minimum']),
    bound('more than', schema['exclusiveMinimum']),
    bound('at most', schema['maximum']),
    bound('less than', schema['exclusiveMaximum']),
    bound('a multiple of', schema['multipleOf']),
    bound('at least', schema['minLength'], 'characters'),
    bound('at most', schema['maxLength'], 'characters'),
    bound('at least', schema['minItems'], 'of them'),
    bound('at most', schema['maxItems'], 'of them'),
    typeof schema['pattern'] === 'string' ? `matches ${schema['pattern']}` : '',
  ].filter(Boolean);
  if (bounds.length === 0) return said;
  const words = bounds.join(', ');
  const sentence = `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
  return said === '' ? sentence : `${/[.!?]$/.test(said) ? said : `${said}.`} ${sentence}`;
}

function bound(words: string, value: unknown, unit = ''): string {
  return typeof value === 'number' ? `${words} ${String(value)}${unit === '' ? '' : ` ${unit}`}` : '';
}

const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
