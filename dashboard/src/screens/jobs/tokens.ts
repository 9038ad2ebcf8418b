// Owns how the filters in force are said: one remark each, with what takes it away. Pure.
import { absolute, list } from '$lib/format';
import { jobStates } from '$lib/ui/states';
import { ORIGIN_WORDS, type Filters, type Range } from './filter';

export interface Token {
  readonly text: string;
  /** The filters without it. */
  readonly without: Partial<Filters>;
}

const UNIT_WORDS: Readonly<Record<string, string>> = { m: 'min', h: 'h', d: 'd' };

export function rangeWords(range: Range): string {
  if ('last' in range) return `in the last ${range.last.slice(0, -1)} ${UNIT_WORDS[range.last.slice(-1)] ?? ''}`;
  const [from, to] = [range.from, range.to].map((at) => (at === null ? null : absolute(Date.parse(at))));
  if (from && to) return `between ${from} and ${to}`;
  return from ? `since ${from}` : `before ${to ?? ''}`;
}

export function tokensOf(filters: Filters): Token[] {
  const many = (key: 'task' | 'queue' | 'label', noun: string): Token[] =>
    filters[key].map((value) => ({
      text: `${noun} ${value}`,
      without: { [key]: filters[key].filter((other) => other !== value) },
    }));
  const tokens = [
    ...(filters.text.trim() === '' ? [] : [{ text: `text “${filters.text.trim()}”`, without: { text: '' } }]),
    ...many('task', 'task'),
    ...many('queue', 'queue'),
    ...many('label', 'label'),
  ];
  if (filters.origin.length > 0) {
    tokens.push({ text: list(filters.origin.map((origin) => ORIGIN_WORDS[origin])), without: { origin: [] } });
  }
  if (filters.created) tokens.push({ text: `created ${rangeWords(filters.created)}`, without: { created: null } });
  if (filters.finished) tokens.push({ text: `finished ${rangeWords(filters.finished)}`, without: { finished: null } });
  if (filters.incident) tokens.push({ text: `of ${filters.incident}`, without: { incident: null } });
  if (filters.schedule) tokens.push({ text: `made by ${filters.schedule}`, without: { schedule: null } });
  return tokens;
}

/** All of it in one sentence: "Failed jobs; task sync-crm; created in the last 24 h." */
export function filterWords(filters: Filters): string {
  const states = list(filters.state.map((state) => jobStates[state].word));
  const head = states === '' ? 'Jobs in any state' : `${states.charAt(0).toUpperCase()}${states.slice(1)} jobs`;
  return `${[head, ...tokensOf(filters).map((token) => token.text)].join('; ')}.`;
}
