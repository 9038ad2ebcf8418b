// Owns how a job is named. Pure.
import { commandLine } from '$lib/format';

interface Named {
  readonly task: { readonly name: string } | null;
  readonly command: Parameters<typeof commandLine>[0];
}

/** The task's name, else the command. */
export function nameOf(job: Named): string {
  return job.task?.name ?? commandLine(job.command);
}
