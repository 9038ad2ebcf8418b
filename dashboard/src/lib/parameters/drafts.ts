// Owns what somebody has typed into a form of parameters, and the object that it stands for. A draft is a text for
// each field, by its JSON pointer: empty means that the parameter is left out; of a choice it is the place of the value
// among the options, so that under another schema values are carried over and not drafts. Pure.
import { isObject, plain, pointer, type ParameterField } from './fields';

export type Drafts = Record<string, string>;

export interface Collected {
  readonly value: Record<string, unknown>;
  /** What is wrong, by JSON pointer. */
  readonly errors: Readonly<Record<string, string>>;
}

const NEEDED = 'This is needed.';
const TOO_LARGE = 'is too large for a page to send as it is: use the command line';
/** The texts and the numbers of a JSON text. */
const JSON_SCALARS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

/** The drafts that a form begins with: the given values, else the presets of the schema. */
export function draftsOf(fields: readonly ParameterField[], given: Readonly<Record<string, unknown>> = {}): Drafts {
  const drafts: Drafts = {};
  for (const field of fields) {
    const name = field.path.at(-1) ?? '';
    const value = name in given ? given[name] : field.preset;
    if (field.kind !== 'group') drafts[pointer(field.path)] = draftOf(field, value);
    else Object.assign(drafts, isObject(value) ? draftsWithin(field.fields, value) : draftsOf(field.fields));
  }
  return drafts;
}

type Leaf = Exclude<ParameterField, { kind: 'group' }>;

/** The drafts of a group that is given: what it leaves out gets no preset, from the daemon neither. */
function draftsWithin(fields: readonly ParameterField[], value: Readonly<Record<string, unknown>>): Drafts {
  const leaves = [...leavesOf(fields)];
  return Object.fromEntries(leaves.map(([at, field]) => [at, draftOf(field, value[field.path.at(-1) ?? ''])]));
}

/** The fields that hold something, by JSON pointer. */
function leavesOf(fields: readonly ParameterField[]): ReadonlyMap<string, Leaf> {
  const leaves = fields.flatMap((field): (readonly [string, Leaf])[] =>
    field.kind === 'group' ? [...leavesOf(field.fields)] : [[pointer(field.path), field]],
  );
  return new Map(leaves);
}

/** The drafts under other fields. What somebody changed since the form began with `given` is carried over: a text as it
 * was typed, anything else by its value, which may be none any more. The rest begins anew. */
export function carried(
  before: readonly ParameterField[],
  typed: Drafts,
  after: readonly ParameterField[],
  given: Readonly<Record<string, unknown>> = {},
): Drafts {
  const [fieldsBefore, begun] = [leavesOf(before), draftsOf(before, given)];
  const drafts = draftsOf(after, given);
  for (const [at, field] of leavesOf(after)) {
    const [was, draft] = [fieldsBefore.get(at), typed[at]];
    if (was !== undefined && draft !== undefined && draft !== begun[at]) drafts[at] = moved(was, draft, field);
  }
  return drafts;
}

const isTyped = (field: Leaf): boolean => ['text', 'number', 'list', 'json'].includes(field.kind);

/** The draft of one field as the draft of another. */
function moved(from: Leaf, draft: string, to: Leaf): string {
  if (isTyped(from) && isTyped(to)) return draft;
  const read = readDraft(from, draft);
  const value = 'value' in read ? read.value : undefined;
  return to.kind === 'flag' && typeof value !== 'boolean' ? '' : draftOf(to, value);
}

/** Of what the drafts stand for, what was given or typed: presets that nobody touched are left to the schema. */
export function changed(
  fields: readonly ParameterField[],
  drafts: Drafts,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const isChanged = (field: ParameterField) =>
    (field.path.at(-1) ?? '') in given || !sameDrafts(draftsOf([field], given), drafts);
  return collect(fields.filter(isChanged), drafts).value;
}

/** The names of those values that the fields cannot hold as they are. */
export function unheld(fields: readonly ParameterField[], values: Readonly<Record<string, unknown>>): string[] {
  const { value } = collect(fields, draftsOf(fields, values));
  return Object.keys(values).filter((name) => sorted(value[name]) !== sorted(values[name]));
}

/** A value as JSON in which the order of names says nothing. */
function sorted(value: unknown): string | undefined {
  const inOrder = (_: string, each: unknown) =>
    isObject(each) ? Object.fromEntries(Object.entries(each).sort(([left], [right]) => (left < right ? -1 : 1))) : each;
  return JSON.stringify(value, inOrder) as string | undefined;
}

function draftOf(field: Leaf, value: unknown): string {
  if (value === undefined) return '';
  switch (field.kind) {
    case 'fixed':
      return '';
    case 'choice':
      return optionIndex(field.options, value);
    case 'pick':
      return (Array.isArray(value) ? value : [])
        .map((each) => optionIndex(field.options, each))
        .filter(Boolean)
        .join(',');
    case 'list':
      return Array.isArray(value) ? value.map(plain).join('\n') : '';
    case 'json':
      return JSON.stringify(value, null, 2);
    default:
      return value === null ? '' : plain(value);
  }
}

function optionIndex(options: readonly { value: unknown }[], value: unknown): string {
  const written = JSON.stringify(value);
  const index = options.findIndex((option) => JSON.stringify(option.value) === written);
  return index < 0 ? '' : String(index);
}

/** The object that the drafts stand for, and what is wrong with them. */
export function collect(fields: readonly ParameterField[], drafts: Drafts): Collected {
  const value: Record<string, unknown> = {};
  const errors: Record<string, string> = {};
  for (const field of fields) {
    const name = field.path.at(-1) ?? '';
    if (field.kind === 'group') {
      const inner = collect(field.fields, drafts);
      // One that may be left out is, while nothing was typed into it and it would not do as it is.
      const isUntouched = !field.isNeeded && sameDrafts(draftsOf([field]), drafts);
      if (isUntouched && (Object.keys(inner.errors).length > 0 || Object.keys(inner.value).length === 0)) continue;
      value[name] = inner.value;
      Object.assign(errors, inner.errors);
      continue;
    }
    const read = readDraft(field, drafts[pointer(field.path)] ?? '');
    if ('error' in read) errors[pointer(field.path)] = read.error;
    else if (read.value !== undefined) value[name] = read.value;
  }
  return { value, errors };
}

function sameDrafts(some: Drafts, all: Drafts): boolean {
  return Object.entries(some).every(([key, draft]) => all[key] === draft);
}

type Read = { readonly value: unknown } | { readonly error: string };

function readDraft(field: Leaf, draft: string): Read {
  if (field.kind === 'fixed') return { value: field.value };
  if (draft.trim() === '' && field.kind !== 'text') return emptied(field);
  switch (field.kind) {
    case 'text':
      if (draft !== '') return { value: draft };
      // Without a word the daemon would put the preset back that somebody has just removed.
      return typeof field.preset === 'string' && field.preset !== '' ? { value: '' } : emptied(field);
    case 'number':
      return readNumber(draft, field.isWhole, field.least, field.most);
    case 'flag':
      return { value: draft === 'true' };
    case 'choice':
      return { value: field.options[Number(draft)]?.value };
    case 'pick':
      return { value: draft.split(',').map((index) => field.options[Number(index)]?.value) };
    case 'list':
      return readLines(draft, field.item);
    case 'json':
      return readJson(draft);
  }
}

function emptied(field: ParameterField): Read {
  // The daemon adds the preset of what is left out, except within a group.
  if (field.kind === 'pick' && Array.isArray(field.preset) && field.preset.length > 0) return { value: [] };
  if (field.kind === 'list' && Array.isArray(field.preset) && field.preset.length > 0) return { value: [] };
  if (!field.isNeeded) return { value: undefined };
  if (field.kind === 'flag') return { value: false };
  if (field.kind === 'list' || field.kind === 'pick') return { value: [] };
  return { error: NEEDED };
}

function readNumber(draft: string, isWhole: boolean, least: number | null, most: number | null): Read {
  const text = draft.trim();
  const value = Number(text);
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) || !Number.isFinite(value)) {
    return { error: 'This is not a number.' };
  }
  if (isWhole && !Number.isInteger(value)) return { error: 'This is not a whole number.' };
  if (isWhole && isRounded(text, value)) return { error: `This ${TOO_LARGE}.` };
  if (least !== null && value < least) return { error: `This is less than ${String(least)}.` };
  if (most !== null && value > most) return { error: `This is more than ${String(most)}.` };
  return { value };
}

/** Whether a whole number is another one in a browser: such a one is not sent. */
function isRounded(text: string, value: number): boolean {
  return !Number.isSafeInteger(value) && String(value) !== text.replace(/^\+/, '');
}

function readLines(draft: string, item: 'text' | 'whole' | 'number'): Read {
  const lines = draft.split('\n').filter((line) => line.trim() !== '');
  if (item === 'text') return { value: lines.map((line) => line.trim()) };
  const values: unknown[] = [];
  for (const line of lines) {
    const read = readNumber(line, item === 'whole', null, null);
    if ('error' in read) return { error: `${line.trim()}: ${read.error}` };
    values.push(read.value);
  }
  return { value: values };
}

/** A JSON text. */
export function readJson(text: string): Read {
  try {
    const value = JSON.parse(text) as unknown;
    const scalars = text.match(JSON_SCALARS) ?? [];
    const rounded = scalars.find((each) => /^-?\d+$/.test(each) && isRounded(each, Number(each)));
    return rounded === undefined ? { value } : { error: `${rounded} ${TOO_LARGE}.` };
  } catch (error) {
    return { error: `This is not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** What the daemon said is wrong with parameters, by JSON pointer: it names all of it in one message. */
export function refusedParameters(message: string, path: readonly string[]): Record<string, string> {
  const errors: Record<string, string> = {};
  for (const part of message.split(/; (?=\/)/)) {
    const found = /^(\/\S*) (.+)$/s.exec(part);
    if (found) errors[found[1] ?? ''] ??= sentence(found[2] ?? '');
  }
  const first = pointer(path);
  if (Object.keys(errors).length === 0 && first !== '') errors[first] = sentence(message);
  return errors;
}

function sentence(text: string): string {
  const words = text.replace(/^does not fit: /, 'It does not fit: ').replace(/^is /, 'It is ');
  return /[.!?]$/.test(words) ? words : `${words}.`;
}

/** The field that an error belongs to: the one at the pointer, else the nearest one above it. */
export function homeOf(errorPointer: string, drafts: Drafts): string | null {
  let at = errorPointer;
  while (at !== '') {
    if (at in drafts) return at;
    at = at.slice(0, at.lastIndexOf('/'));
  }
  return null;
}
