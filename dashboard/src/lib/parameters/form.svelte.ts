// Owns what somebody fills in as parameters: by the fields of a schema, or as JSON where a form cannot show them or is
// not wanted, and what is wrong with it. `Parameters.svelte` draws it.
import { untrack } from 'svelte';
import { list } from '$lib/format';
import type { UserError } from '$lib/live/live.svelte';
import { carried, changed, collect, draftsOf, homeOf, readJson, refusedParameters, unheld } from './drafts';
import type { Collected, Drafts } from './drafts';
import { fieldsOf, isObject, type ParameterField } from './fields';

export type Values = Readonly<Record<string, unknown>>;

interface Read {
  /** undefined: nothing was written. */
  readonly value: Values | undefined;
  /** What is wrong, by JSON pointer; of a JSON text at `json`. */
  readonly errors: Collected['errors'];
}

const NO_OBJECT = 'Parameters are a JSON object: {"name": "value"}.';
const MARKED = 'What is marked would get lost in JSON: mend it or empty it first.';

const written = (values: Values): string => JSON.stringify(values, null, 2);

/** Make it while a component is made: it follows the schema as long. */
export class ParametersForm {
  drafts = $state<Drafts>({});
  json = $state('');
  /** JSON is wanted, though the fields would do. */
  wantsJson = $state(false);
  /** Why it did not turn between the fields and JSON when it was told to. */
  refusal = $state.raw<string | null>(null);
  /** What was wrong when it was last sent. */
  #found = $state.raw<Collected['errors']>({});
  /** What the daemon said against it. */
  #refused = $state.raw<Readonly<Record<string, string>>>({});
  readonly #schema: () => unknown;
  /** The schema that was drawn last. */
  #drawn: string | undefined;
  #hadFields = false;
  /** The fields that the drafts are of, and the values that they began with. */
  #shape: readonly ParameterField[] = [];
  #begun: Values = {};
  /** The JSON text that the drafts were written into, when a schema came that lists no fields. */
  #kept: string | null = null;

  /** Begins with `given`, if there is anything. */
  constructor(schema: () => unknown, given: Values | null = null) {
    this.#schema = schema;
    untrack(() => {
      this.#begin(given ?? {});
    });
    // Another schema may have other fields: what was typed stays where it still fits.
    $effect(() => {
      if (JSON.stringify(schema()) === this.#drawn) return;
      untrack(() => {
        this.#redraw();
      });
    });
  }

  readonly fields: readonly ParameterField[] | null = $derived.by(() => fieldsOf(this.#schema()));
  readonly isJson: boolean = $derived.by(() => this.fields === null || this.wantsJson);
  readonly takesAny: boolean = $derived.by(() => this.#schema() === null || this.#schema() === undefined);

  #begin(values: Values): void {
    this.#drawn = JSON.stringify(this.#schema());
    this.#hadFields = this.fields !== null;
    if (Object.keys(values).length > 0) this.json = written(values);
    if (this.fields === null) return;
    this.#fill(this.fields, values);
    // What no field can hold must not get lost.
    if (unheld(this.fields, values).length > 0) this.wantsJson = true;
  }

  #fill(fields: readonly ParameterField[], values: Values): void {
    [this.#shape, this.#begun] = [fields, values];
    this.drafts = draftsOf(fields, values);
  }

  /** The schema is another one. */
  #redraw(): void {
    const { fields } = this;
    if (this.wantsJson || (!this.#hadFields && this.json !== this.#kept)) {
      const read = readJson(this.json.trim() === '' ? '{}' : this.json);
      const values = 'value' in read && isObject(read.value) ? read.value : null;
      // Nor must what cannot be read.
      if (values === null) this.wantsJson = true;
      this.#begin(values ?? {});
      return;
    }
    this.#drawn = JSON.stringify(this.#schema());
    this.#hadFields = fields !== null;
    if (fields !== null) {
      this.drafts = carried(this.#shape, this.drafts, fields, this.#begun);
      this.#shape = fields;
      return;
    }
    const values = changed(this.#shape, this.drafts, this.#begun);
    this.json = Object.keys(values).length > 0 ? written(values) : '';
    this.#kept = this.json;
  }

  /** What it stands for now. */
  read(): Read {
    if (!this.isJson) return collect(this.fields ?? [], this.drafts);
    if (this.json.trim() === '') return { value: undefined, errors: {} };
    const read = readJson(this.json);
    if ('error' in read) return { value: undefined, errors: { json: read.error } };
    return isObject(read.value) ? { value: read.value, errors: {} } : { value: undefined, errors: { json: NO_OBJECT } };
  }

  /** What it stands for, to be sent: what is wrong with it is shown from now on. */
  send(): Read {
    const read = this.read();
    this.#found = read.errors;
    this.#refused = {};
    this.refusal = null;
    return read;
  }

  /** Shows what the daemon said against it. Gives what it said against other things. */
  refuse<Refusal extends Pick<UserError, 'message' | 'path'>>(errors: readonly Refusal[]): readonly Refusal[] {
    for (const error of errors) {
      const [first, ...steps] = error.path ?? [];
      if (first === 'parameters') this.#refused = { ...this.#refused, ...refusedParameters(error.message, steps) };
    }
    const ours = Object.keys(this.#refused).length > 0;
    return errors.filter((error) => error.path?.[0] !== 'parameters' || !ours);
  }

  errorOf = (at: string): string | null => {
    const own = this.#found[at];
    if (own !== undefined) return own;
    return Object.entries(this.#refused).find(([where]) => homeOf(where, this.drafts) === at)?.[1] ?? null;
  };

  /** What is wrong with the JSON text. */
  get jsonError(): string | null {
    return this.#found['json'] ?? null;
  }

  /** Refusals of what no field shows. */
  get loose(): readonly string[] {
    return Object.entries(this.#refused)
      .filter(([where]) => this.isJson || homeOf(where, this.drafts) === null)
      .map(([where, message]) => `${where.slice(1)}: ${message}`);
  }

  /** Between the fields and JSON; it stays where something would get lost on the way. */
  turn(): void {
    this.refusal = null;
    if (this.wantsJson) this.#turnToFields();
    else this.#turnToJson();
  }

  #turnToJson(): void {
    const { value, errors } = collect(this.fields ?? [], this.drafts);
    // An empty field loses nothing.
    const lost = Object.entries(errors).filter(([at]) => (this.drafts[at] ?? '').trim() !== '');
    this.#found = Object.fromEntries(lost);
    if (lost.length > 0) {
      this.refusal = MARKED;
      return;
    }
    this.json = written(value);
    this.wantsJson = true;
  }

  #turnToFields(): void {
    const fields = this.fields ?? [];
    const read = readJson(this.json.trim() === '' ? '{}' : this.json);
    if ('error' in read || !isObject(read.value)) {
      this.#found = { json: 'error' in read ? read.error : NO_OBJECT };
      return;
    }
    this.#found = {};
    const names = unheld(fields, read.value);
    if (names.length > 0) {
      this.refusal = `The form cannot hold ${list(names)} as it stands here, so this stays JSON.`;
      return;
    }
    this.#fill(fields, read.value);
    this.wantsJson = false;
  }
}
