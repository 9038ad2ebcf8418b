// Owns what somebody fills in as parameters: by the fields of a schema, or as JSON where a form cannot show them or is
// not wanted, and what is wrong with it. `Parameters.svelte` draws it.
import { untrack } from 'svelte';
import type { UserError } from '$lib/live/live.svelte';
import { collect, draftsOf, homeOf, readJson, refusedParameters, type Collected, type Drafts } from './drafts';
import { fieldsOf, isObject, type ParameterField } from './fields';

export type Values = Readonly<Record<string, unknown>>;

interface Read {
  /** undefined: nothing was written. */
  readonly value: Values | undefined;
  /** What is wrong, by JSON pointer; of a JSON text at `json`. */
  readonly errors: Collected['errors'];
}

/** Make it while a component is made: it follows the schema as long. */
export class ParametersForm {
  drafts = $state<Drafts>({});
  json = $state('');
  /** JSON is wanted, though the fields would do. */
  wantsJson = $state(false);
  /** What was wrong when it was last sent. */
  #found = $state.raw<Collected['errors']>({});
  /** What the daemon said against it. */
  #refused = $state.raw<Readonly<Record<string, string>>>({});
  readonly #schema: () => unknown;
  /** The schema that was drawn last. */
  #drawn: string | undefined;
  #hadFields = false;

  /** Begins with `given`, if there is anything. */
  constructor(schema: () => unknown, given: Values | null = null) {
    this.#schema = schema;
    untrack(() => {
      this.#draw(given ?? {});
    });
    // Another schema may have other fields: what was typed stays where it still fits.
    $effect(() => {
      if (JSON.stringify(schema()) === this.#drawn) return;
      untrack(() => {
        const written = !this.#hadFields || this.wantsJson ? readJson(this.json) : { value: {} };
        this.#draw('value' in written && isObject(written.value) ? written.value : {}, this.drafts);
      });
    });
  }

  readonly fields: readonly ParameterField[] | null = $derived.by(() => fieldsOf(this.#schema()));
  readonly isJson: boolean = $derived.by(() => this.fields === null || this.wantsJson);
  readonly takesAny: boolean = $derived.by(() => this.#schema() === null || this.#schema() === undefined);

  #draw(values: Values, typed: Drafts = {}): void {
    this.#drawn = JSON.stringify(this.#schema());
    this.#hadFields = this.fields !== null;
    this.json = Object.keys(values).length > 0 ? JSON.stringify(values, null, 2) : this.json;
    if (this.fields === null) return;
    const begun = draftsOf(this.fields, values);
    this.drafts = Object.fromEntries(Object.entries(begun).map(([at, draft]) => [at, typed[at] ?? draft]));
    // What no field can hold must not get lost.
    if (!holds(this.fields, values)) this.wantsJson = true;
  }

  /** What it stands for now. */
  read(): Read {
    if (!this.isJson) return collect(this.fields ?? [], this.drafts);
    if (this.json.trim() === '') return { value: undefined, errors: {} };
    const read = readJson(this.json);
    if ('error' in read) return { value: undefined, errors: { json: read.error } };
    return isObject(read.value)
      ? { value: read.value, errors: {} }
      : { value: undefined, errors: { json: 'Parameters are a JSON object: {"name": "value"}.' } };
  }

  /** What it stands for, to be sent: what is wrong with it is shown from now on. */
  send(): Read {
    const read = this.read();
    this.#found = read.errors;
    this.#refused = {};
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

  /** Between the fields and JSON. */
  turn(): void {
    if (!this.wantsJson) {
      this.json = JSON.stringify(collect(this.fields ?? [], this.drafts).value, null, 2);
      this.wantsJson = true;
      return;
    }
    const read = readJson(this.json.trim() === '' ? '{}' : this.json);
    if ('error' in read) {
      this.#found = { json: read.error };
      return;
    }
    this.drafts = draftsOf(this.fields ?? [], isObject(read.value) ? read.value : {});
    this.wantsJson = false;
    this.#found = {};
  }
}

/** Whether the fields can hold all of these values. */
export function holds(fields: readonly ParameterField[], values: Values): boolean {
  const { value } = collect(fields, draftsOf(fields, values));
  return Object.entries(values).every(([name, given]) => JSON.stringify(value[name]) === JSON.stringify(given));
}
