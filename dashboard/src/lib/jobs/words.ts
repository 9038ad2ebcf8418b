// Owns how a job, and what it asks of its worker, is named. Pure.
import { commandLine } from '$lib/format';

interface Named {
  readonly task: { readonly name: string } | null;
  readonly command: Parameters<typeof commandLine>[0];
}

/** Labels with their values, as they are typed: `gpu=a100 os=linux`. */
export function labelWords(labels: readonly { readonly key: string; readonly value: string }[]): string {
  return labels.map(({ key, value }) => `${key}=${value}`).join(' ');
}

/** The task's name, else the command. */
export function nameOf(job: Named): string {
  return job.task?.name ?? commandLine(job.command);
}
