// A small company's night, made through the API: work of every state, every reason to wait, three kinds of failures,
// due times that were skipped, and a log of 50,000 lines in colours. Seen by pictures and by the check that everybody
// can read the screens.
import { ask, change, enqueue, please, putTask, script, until } from './harness.mjs';

const tasks = [
  {
    name: 'backup-db',
    description: 'Dumps the shop database and sends it to the other house.',
    command: script('echo "dumping shop"; sleep 0.$BEADLE_PARAM_LENGTH; echo "dump is complete"'),
    parametersSchema: { type: 'object', properties: { length: { type: 'integer', default: 1, minimum: 0, maximum: 9 } } },
    timeout: 'PT30M',
  },
  {
    name: 'sync-crm',
    description: 'Brings contacts from the CRM.',
    command: script('echo "fetching contacts since yesterday"; echo "error: connection refused 10.0.0.7:5432" >&2; exit 2'),
  },
  {
    name: 'send-invoices',
    description: 'Mails the invoices of the day.',
    command: script('echo "invoice 2291 of 3012"; echo "Error: template not found: invoice-fr.html" >&2; exit 1'),
    retryPolicy: { maxAttempts: 4, initialDelay: 'PT10M' },
  },
  { name: 'resize-images', description: 'Makes small pictures.', command: script('echo "killed by its own weight"; kill -9 $$') },
  {
    name: 'deploy',
    description: 'Brings a release to a host.',
    queue: 'deploy',
    command: script(`report() { printf '%s\\n' "$1" > "$BEADLE_REPORT"; }
echo "deploying $BEADLE_PARAM_SERVICE to $BEADLE_PARAM_HOST"
report '{"progress": {"done": 61, "total": 100, "unit": "layers"}, "status": "uploading layer 61"}'
printf '\\033[32mlayer 61 is there\\033[0m\\n'
exec sleep 600`),
    parametersSchema: {
      type: 'object',
      required: ['service', 'host'],
      properties: {
        service: { type: 'string', enum: ['web', 'api', 'worker'], description: 'What is brought.' },
        host: { type: 'string', pattern: '^[a-z0-9-]+$', description: 'Where it goes.' },
        isForced: { type: 'boolean', default: false, description: 'Even while jobs run there.' },
      },
    },
  },
  { name: 'report', description: 'Counts what was sold.', command: script('echo "sold 412 things"') },
  { name: 'rotate-logs', description: 'Packs old logs.', command: script('exec sleep 900') },
];

const MANY_LINES = `awk 'BEGIN { for (line = 1; line <= 50000; line++) {
  colour = line % 50 == 0 ? 33 : line % 7 == 0 ? 32 : 36
  printf "\\033[2m%06d\\033[0m \\033[%dmpicture %05d\\033[0m of the autumn catalogue is %d by %d\\n", line, colour, line, line % 1900 + 100, line % 1100 + 80
} }'`;

const ofTask = (name, rest = {}) => enqueue({ run: { task: { name } }, ...rest });
const ofCommand = (text, rest = {}) => enqueue({ run: { command: script(text) }, ...rest });

async function isOver(id) {
  const { job } = await ask('query ($id: ID!) { job(id: $id) { state } }', { id });
  return ['SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED', 'RETRYING'].includes(job.state);
}

async function past() {
  const lengths = [1, 2, 1, 3, 1, 1, 2, 1, 1, 4, 1, 2];
  const backups = lengths.map((length) => ({ run: { task: { name: 'backup-db' } }, parameters: { length } }));
  const failing = ['sync-crm', 'sync-crm', 'sync-crm', 'send-invoices', 'resize-images', 'resize-images'];
  const jobs = [...backups, ...failing.map((name) => ({ run: { task: { name } } }))];
  jobs.push(...Array.from({ length: 6 }, () => ({ run: { task: { name: 'report' } } })));
  const { jobEnqueueMany: made } = await ask(
    'mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } } }',
    { input: { jobs } },
  );
  const ids = made.results.map((result) => result.job.id);
  const long = await ofCommand(MANY_LINES, { labels: [{ key: 'catalogue', value: 'autumn' }] });
  for (const id of [...ids, long]) await until(`${id} to end`, () => isOver(id));
  return { long, failed: ids[backups.length] };
}

async function waiting(running) {
  const deploy = (service, host, rest = {}) => ofTask('deploy', { parameters: { service, host }, ...rest });
  await deploy('api', 'web-4');
  await ofCommand('echo after', { dependsOn: [running] });
  await ofCommand('exec sleep 600', { concurrencyKey: 'prod', labels: [{ key: 'host', value: 'prod' }] });
  await ofCommand('exec sleep 600', { concurrencyKey: 'prod', labels: [{ key: 'host', value: 'prod' }] });
  await ofTask('report', { delay: 'PT3H' });
  await ofTask('report', { isHeld: true });
  await change('queuePause', 'QueuePauseInput', 'queue { id }', { name: 'mail', reason: 'the provider has an outage' });
  await ofCommand('echo mail', { queue: 'mail' });
  await change('queuePut', 'QueuePutInput', 'queue { id }', { name: 'partner-api', rateLimit: { starts: 1, per: 'PT1H' } });
  await ofCommand('echo first', { queue: 'partner-api' });
  await ofCommand('echo second', { queue: 'partner-api' });
}

async function schedules() {
  const put = (name, task, timing, rest = {}) =>
    change('schedulePut', 'SchedulePutInput', 'schedule { id }', { name, task: { name: task }, timing, ...rest });
  await put('backup-nightly', 'backup-db', { cron: '0 3 * * *' }, { timeZone: 'Europe/Berlin' });
  await put('report-mornings', 'report', { cron: '0 6 * * 1-5' }, { timeZone: 'Europe/Berlin' });
  await put('report-often', 'report', { every: 'PT1S' }, { overlap: 'ALLOW' });
  // Its job outlasts the next due times, which are skipped.
  await put('rotate-logs', 'rotate-logs', { every: 'PT1S' });
  await put('invoices', 'send-invoices', { cron: '30 18 * * *' }, { isPaused: true });
}

/// Due times that were missed while the daemon was away.
async function nap() {
  await change('schedulePut', 'SchedulePutInput', 'schedule { id }', {
    name: 'heartbeat',
    task: { name: 'report' },
    timing: { every: 'PT1S' },
    misfire: 'SKIP',
    overlap: 'ALLOW',
  });
  const ticks = 'query { schedule(ref: {name: "heartbeat"}) { ticks(first: 5) { edges { node { outcome } } } } }';
  const outcomes = async () => (await ask(ticks)).schedule.ticks.edges.map((edge) => edge.node.outcome);
  await until('some ticks', async () => (await outcomes()).length > 3);
  await please('kill');
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  await please('start');
  await until('what was missed', async () => (await outcomes()).some((outcome) => outcome !== 'STARTED'));
  await change('schedulePause', 'SchedulePauseInput', 'schedule { id }', { ref: { name: 'heartbeat' }, reason: 'a new probe does it' });
}

/// Fills the daemon; gives the jobs and incidents that are worth a look. `hasNap` stops the daemon for some seconds.
export async function seed({ hasNap = false } = {}) {
  await change('queuePut', 'QueuePutInput', 'queue { id }', { name: 'deploy', concurrencyLimit: 1 });
  await change('queuePut', 'QueuePutInput', 'queue { id }', { name: 'mail' });
  for (const task of tasks) await putTask(task);
  await putTask({ ...tasks[5], description: 'Counts what was sold, by country.', timeout: 'PT5M' });
  if (hasNap) await nap();
  await schedules();
  const { long, failed } = await past();
  const running = await ofTask('deploy', { parameters: { service: 'web', host: 'web-3' }, labels: [{ key: 'release', value: '2026.11' }] });
  await waiting(running);
  await change('tokenCreate', 'TokenCreateInput', 'token { id }', {
    name: 'ci',
    grants: [{ verb: 'ENQUEUE', tasks: ['deploy', 'report'] }, { verb: 'READ', ownJobsOnly: true }],
    expiresIn: 'P90D',
  });
  const incidents = await until('three incidents', async () => {
    const { incidents } = await ask('{ incidents(first: 10) { nodes { id title } } }');
    return incidents.nodes.length >= 3 ? incidents.nodes : null;
  });
  const refused = incidents.find((incident) => incident.title.includes('connection refused'))?.id ?? incidents[0].id;
  await change('incidentAcknowledge', 'IncidentAcknowledgeInput', 'incident { id }', {
    id: incidents.find((incident) => incident.title.includes('template not found'))?.id ?? incidents[1].id,
    assignee: 'mira',
    note: 'The template was renamed on Tuesday.',
  });
  await change('schedulePause', 'SchedulePauseInput', 'schedule { id }', { ref: { name: 'report-often' }, reason: 'enough for tonight' });
  return { long, failed, running, incident: refused };
}

/// Every screen, as an address of the seeded daemon.
export function screens({ long, failed, running, incident }) {
  return {
    now: '/',
    jobs: '/jobs',
    job: `/jobs/${running}`,
    'job-failed': `/jobs/${failed}`,
    'job-log': `/jobs/${long}`,
    tasks: '/tasks',
    task: '/tasks/deploy',
    revisions: '/tasks/report?tab=revisions',
    schedules: '/schedules',
    schedule: '/schedules/rotate-logs',
    queues: '/queues',
    workers: '/workers',
    incidents: '/incidents',
    incident: `/incidents/${incident}`,
    access: '/access',
    system: '/system',
  };
}

/// Goes there and waits until the screen has its data.
export async function settle(page, go) {
  await go();
  await page.waitForFunction(() => {
    const main = document.querySelector('main');
    // While the screen's own file is loaded the heading stands there alone.
    if (!main?.querySelector('h1') || main.querySelector(':scope > h1')) return false;
    return [...main.querySelectorAll('[role=status] > .unseen')].every((one) => !one.textContent.startsWith('Loading'));
  });
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
}
