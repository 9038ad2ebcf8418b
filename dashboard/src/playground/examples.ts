// Owns the tabs of a new playground: one operation each, ready to run, from a first job to an incident. A test checks
// them against the schema.

export interface Example {
  readonly query: string;
  readonly variables: string | null;
}

const enqueue = `# Runs a command. \`run: {task: {name: "..."}}\` runs a task.
# The answer comes once the job is on disk. With an
# \`idempotencyKey\` it can be asked twice and stays one job.
mutation Enqueue($script: String!) {
  jobEnqueue(
    input: {
      run: { command: { script: { text: $script } } }
      timeout: "1m"
      retryPolicy: { maxAttempts: 2, initialDelay: "5s" }
    }
  ) {
    job { id state }
    userErrors { code message path }
  }
}
`;

const follow = `# State and output of a job, live, to its end.
# The first tab makes one: put its id below.
subscription Follow($id: ID!) {
  jobFollow(id: $id) {
    job {
      state
      progress { fraction status }
      failure { message }
    }
    log { lines { stream text } }
  }
}
`;

const schedule = `# A task, and a schedule that runs it every five seconds.
# Both are found again by their names. The end of it:
# mutation { scheduleDelete(input: {ref: {name: "heartbeat"}}) { deletedId } }
mutation Schedule {
  taskPut(
    input: {
      name: "heartbeat"
      command: { script: { text: "cat /proc/loadavg" } }
      timeout: "4s"
    }
  ) {
    task { name revision }
    userErrors { code message path }
  }
  schedulePut(
    input: {
      name: "heartbeat"
      task: { name: "heartbeat" }
      timing: { every: "5s" }
    }
  ) {
    schedule { nextDueAt upcoming(first: 3) { at } }
    userErrors { code message path }
  }
}
`;

const incidents = `# What failed, by kind, with the newest jobs of each.
# \`incidentResolve\` says that one is over.
query Incidents {
  incidents(first: 10) {
    nodes {
      id
      title
      status
      occurrenceCount
      lastSeenAt
      jobs(first: 3) { nodes { id state } }
    }
  }
}
`;

const feed = `# Everything that changes, as it happens. With a cursor as
# \`after\` it goes on exactly where one left.
subscription Feed {
  events {
    cursor
    events { at type jobId actor }
  }
}
`;

export const examples: readonly Example[] = [
  { query: enqueue, variables: variables({ script: 'for i in 1 2 3; do echo step $i; sleep 1; done' }) },
  { query: follow, variables: variables({ id: 'job_1' }) },
  { query: schedule, variables: null },
  { query: incidents, variables: null },
  { query: feed, variables: null },
];

function variables(values: Record<string, unknown>): string {
  return JSON.stringify(values, null, 2);
}
