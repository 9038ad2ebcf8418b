// Owns what every state is called, what it looks like and which hue it has: one table for jobs, attempts, ticks,
// health, incidents and workers. Shape and word come before colour.
import type {
  AttemptOutcome,
  HealthStatus,
  IncidentStatus,
  JobState,
  TickOutcome,
  WorkerStatus,
} from '$lib/api/graphql';

export type Hue = 'go' | 'good' | 'bad' | 'warn' | 'wait' | 'later';

export interface Look {
  readonly word: string;
  /** The inside of a 16 by 16 SVG. */
  readonly shape: string;
  readonly hue: Hue;
  /** Whether the shape is filled. */
  readonly isSolid?: boolean;
  readonly turns?: boolean;
}

const shapes = {
  hollow: 'M8 3.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z',
  arc: 'M8 2.5a5.5 5.5 0 1 1-5.5 5.5',
  tick: 'M3 8.5 6.5 12 13 4.5',
  cross: 'M4 4l8 8M12 4l-8 8',
  bar: 'M3.5 8h9M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z',
  loop: 'M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  chain:
    'M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2.2-2.2a2.6 2.6 0 0 0-3.7-3.7l-.8.8M9.2 6.8a2.6 2.6 0 0 0-3.7 0L3.3 9a2.6 2.6 0 0 0 3.7 3.7l.8-.8',
  clock: 'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 5v3.2l2 1.3',
  glass: 'M4 2h8M4 14h8M5 2c0 4 6 4 6 6s-6 2-6 6M11 2c0 4-6 4-6 6s6 2 6 6',
  skip: 'M3 4l5 4-5 4zM12.5 4v8M8 4l4 4-4 4',
  bolt: 'M9 1.5 3.5 9H8l-1 5.5L12.5 7H8z',
  triangle: 'M8 2.5 14 13H2zM8 6.5v3M8 11.2v.1',
  eye: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 6.3a1.7 1.7 0 1 1 0 3.4 1.7 1.7 0 0 1 0-3.4z',
  mute: 'M2.5 2.5l11 11M5 6v4h2.5L11 12.5V9M11 6V3.5L8.6 5.2',
  dot: 'M8 4.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z',
  hand: 'M4 12.5V5.5M7 11V3M10 11V4M13 12V6.5M4 12.5c1 1.5 8 1.5 9-.5',
} as const;

export const jobStates: Record<JobState, Look> = {
  HELD: { word: 'held', shape: shapes.pause, hue: 'warn' },
  BLOCKED: { word: 'blocked', shape: shapes.chain, hue: 'wait' },
  SCHEDULED: { word: 'scheduled', shape: shapes.clock, hue: 'later' },
  QUEUED: { word: 'queued', shape: shapes.hollow, hue: 'wait' },
  RUNNING: { word: 'running', shape: shapes.arc, hue: 'go', turns: true },
  RETRYING: { word: 'retrying', shape: shapes.loop, hue: 'warn' },
  SUCCEEDED: { word: 'succeeded', shape: shapes.tick, hue: 'good' },
  FAILED: { word: 'failed', shape: shapes.cross, hue: 'bad' },
  CANCELLED: { word: 'cancelled', shape: shapes.bar, hue: 'wait' },
  EXPIRED: { word: 'expired', shape: shapes.glass, hue: 'warn' },
  SKIPPED: { word: 'skipped', shape: shapes.skip, hue: 'wait' },
};

/** A running job that somebody asked to stop. */
export const stopping: Look = { word: 'stopping', shape: shapes.arc, hue: 'warn', turns: true };

export const attemptOutcomes: Record<AttemptOutcome, Look> = {
  SUCCEEDED: jobStates.SUCCEEDED,
  EXITED: { word: 'exited', shape: shapes.cross, hue: 'bad' },
  SIGNALED: { word: 'ended by a signal', shape: shapes.bolt, hue: 'bad' },
  TIMED_OUT: { word: 'timed out', shape: shapes.glass, hue: 'bad' },
  OUT_OF_MEMORY: { word: 'out of memory', shape: shapes.cross, hue: 'bad' },
  SPAWN_FAILED: { word: 'could not start', shape: shapes.triangle, hue: 'bad' },
  PANICKED: { word: 'panicked', shape: shapes.bolt, hue: 'bad' },
  CANCELLED: jobStates.CANCELLED,
  LOST: { word: 'lost', shape: shapes.hollow, hue: 'bad' },
  INTERRUPTED: { word: 'interrupted', shape: shapes.pause, hue: 'warn' },
};

export const tickOutcomes: Record<TickOutcome, Look> = {
  STARTED: { word: 'started', shape: shapes.tick, hue: 'good' },
  CAUGHT_UP: { word: 'caught up', shape: shapes.loop, hue: 'warn' },
  TRIGGERED: { word: 'started by hand', shape: shapes.hand, hue: 'go' },
  SKIPPED_OVERLAP: { word: 'skipped: still running', shape: shapes.skip, hue: 'wait' },
  SKIPPED_PAUSED: { word: 'skipped: paused', shape: shapes.pause, hue: 'wait' },
  DROPPED_MISFIRE: { word: 'missed', shape: shapes.glass, hue: 'bad' },
};

export const healthStatuses: Record<HealthStatus, Look> = {
  OK: { word: 'well', shape: shapes.tick, hue: 'good' },
  DEGRADED: { word: 'degraded', shape: shapes.triangle, hue: 'warn' },
  DOWN: { word: 'down', shape: shapes.cross, hue: 'bad' },
};

export const incidentStatuses: Record<IncidentStatus, Look> = {
  OPEN: { word: 'open', shape: shapes.triangle, hue: 'bad' },
  ACKNOWLEDGED: { word: 'acknowledged', shape: shapes.eye, hue: 'warn' },
  RESOLVED: { word: 'resolved', shape: shapes.tick, hue: 'good' },
  IGNORED: { word: 'ignored', shape: shapes.mute, hue: 'wait' },
};

export const workerStatuses: Record<WorkerStatus, Look> = {
  ONLINE: { word: 'online', shape: shapes.dot, hue: 'good', isSolid: true },
  DRAINING: { word: 'draining', shape: shapes.glass, hue: 'warn' },
  OFFLINE: { word: 'offline', shape: shapes.hollow, hue: 'wait' },
};

/** For a queue, a schedule: whether it is paused. */
export const paused: Look = { word: 'paused', shape: shapes.pause, hue: 'warn' };
export const open: Look = { word: 'open', shape: shapes.dot, hue: 'good', isSolid: true };
