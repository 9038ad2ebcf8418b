// Owns the list of screens: title, place in the rail, key and needed grant. The screen itself is found by its folder:
// `src/screens/<name>/Screen.svelte`, loaded when it is first shown.
import type { Component } from 'svelte';
import type { GrantVerb } from '$lib/api/graphql';
import type { IconName } from '$lib/ui/icons';
import type { RouteName } from '$lib/router.svelte';

export interface Screen {
  readonly title: string;
  /** The screen whose entry in the rail is lit. */
  readonly section: RouteName;
  /** For entries of the rail: the second key after `g`. */
  readonly key?: string;
  readonly icon?: IconName;
  /** What a token must be granted to see it. */
  readonly needs: GrantVerb;
}

export const screens: Record<RouteName, Screen> = {
  now: { title: 'Now', section: 'now', key: 'n', icon: 'now', needs: 'READ' },
  jobs: { title: 'Jobs', section: 'jobs', key: 'j', icon: 'jobs', needs: 'READ' },
  job: { title: 'Job', section: 'jobs', needs: 'READ' },
  tasks: { title: 'Tasks', section: 'tasks', key: 't', icon: 'tasks', needs: 'READ' },
  task: { title: 'Task', section: 'tasks', needs: 'READ' },
  schedules: { title: 'Schedules', section: 'schedules', key: 's', icon: 'schedules', needs: 'READ' },
  schedule: { title: 'Schedule', section: 'schedules', needs: 'READ' },
  queues: { title: 'Queues', section: 'queues', key: 'q', icon: 'queues', needs: 'READ' },
  workers: { title: 'Workers', section: 'workers', key: 'w', icon: 'workers', needs: 'READ' },
  incidents: { title: 'Incidents', section: 'incidents', key: 'i', icon: 'incidents', needs: 'READ' },
  incident: { title: 'Incident', section: 'incidents', needs: 'READ' },
  access: { title: 'Access', section: 'access', key: 'a', icon: 'access', needs: 'ADMIN' },
  system: { title: 'System', section: 'system', key: 'y', icon: 'system', needs: 'READ' },
};

/** A screen takes the parameter of its path, such as `job_12` or a task's name. */
export type ScreenComponent = Component<{ parameter: string }>;
const modules = import.meta.glob<{ default: ScreenComponent }>('./*/Screen.svelte');

/** Whether this build has the screen. */
export function hasScreen(name: RouteName): boolean {
  return `./${name}/Screen.svelte` in modules;
}

export async function loadScreen(name: RouteName): Promise<ScreenComponent | null> {
  const load = modules[`./${name}/Screen.svelte`];
  return load ? (await load()).default : null;
}
