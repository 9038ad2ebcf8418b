//! The contract in plain words: a job is a few facts, and where it stands follows from them each time anew.
//! It must never call a rule of the product.

/// What happens to the jobs of one sequence.
#[derive(Debug, Clone)]
pub enum Step {
    /// A job is made.
    Make(Make),
    /// Time passes, in milliseconds.
    Pass(i64),
    /// The dispatcher looks: what is late expires, what is due gets into its queue, so many jobs start.
    Look(usize),
    /// The attempt of one of the running jobs ends.
    End(usize, End),
    /// Somebody cancels a job.
    Cancel(usize),
    /// Somebody holds a job.
    Hold(usize),
    /// Somebody lets a job go.
    Release(usize),
}

/// A job as it is asked for.
#[expect(clippy::struct_excessive_bools, reason = "a job is its facts, each for itself: that is the point")]
#[derive(Debug, Clone)]
pub struct Make {
    /// Whether it begins on hold.
    pub is_held: bool,
    /// Milliseconds until it may start.
    pub delay: i64,
    /// Milliseconds until it must have started.
    pub start_within: Option<i64>,
    /// Numbers of the jobs that it waits for.
    pub on: Vec<usize>,
    /// Whether it runs whatever becomes of them.
    pub runs_anyway: bool,
    /// Tries in all.
    pub tries_max: i32,
    /// Whether only the loss of the worker is tried again.
    pub only_lost: bool,
    /// Whether of the exits only code 75 is tried again.
    pub only_75: bool,
    /// Whether an interruption puts it back.
    pub is_restartable: bool,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct End {
    /// As the API writes it.
    pub outcome: &'static str,
    /// When it exited.
    pub code: i32,
    /// Whether the job said "do not retry".
    pub says_no: bool,
    /// Whether it said "again in so many milliseconds".
    pub says_after: Option<i64>,
}

#[expect(clippy::struct_excessive_bools, reason = "a job is its facts, each for itself: that is the point")]
#[derive(Debug)]
struct Facts {
    wish: Make,
    run_at: i64,
    start_by: Option<i64>,
    is_held: bool,
    /// Whether it waited for others when it was last looked at.
    was_blocked: bool,
    /// When it was last asked whether its time has come.
    asked_at: i64,
    has_started: bool,
    is_running: bool,
    is_asked_to_stop: bool,
    waits_for_next_try: bool,
    tries: i32,
    end: Option<&'static str>,
}

/// Some jobs, by the contract.
#[derive(Debug, Default)]
pub struct Reference {
    now: i64,
    jobs: Vec<Facts>,
}

impl Reference {
    /// Does the step; gives whether it was accepted.
    pub fn apply(&mut self, step: &Step) -> bool {
        let is_accepted = match step {
            Step::Make(wish) => self.make(wish),
            Step::Pass(millis) => {
                self.now += millis;
                true
            }
            Step::Look(slots) => self.look(*slots),
            Step::End(nth, end) => self.end(*nth, end),
            Step::Cancel(at) => self.cancel(*at),
            Step::Hold(at) => {
                let may = ["QUEUED", "SCHEDULED"].contains(&self.state(*at));
                self.jobs[*at].is_held |= may;
                may
            }
            Step::Release(at) => self.release(*at),
        };
        self.follow();
        is_accepted
    }

    /// Where each job stands.
    pub fn states(&self) -> Vec<&'static str> {
        (0..self.jobs.len()).map(|at| self.state(at)).collect()
    }

    /// When each job may start.
    pub fn run_ats(&self) -> Vec<i64> {
        self.jobs.iter().map(|job| job.run_at).collect()
    }

    fn state(&self, at: usize) -> &'static str {
        let job = &self.jobs[at];
        match job.end {
            Some(end) => end,
            None if job.is_running => "RUNNING",
            None if job.is_held => "HELD",
            None if self.is_blocked(at) => "BLOCKED",
            None if job.waits_for_next_try => "RETRYING",
            None if job.run_at > job.asked_at => "SCHEDULED",
            None => "QUEUED",
        }
    }

    fn is_blocked(&self, at: usize) -> bool {
        self.jobs[at].wish.on.iter().any(|on| self.jobs[*on].end.is_none())
    }

    fn make(&mut self, wish: &Make) -> bool {
        self.jobs.push(Facts {
            wish: wish.clone(),
            run_at: self.now + wish.delay,
            start_by: wish.start_within.map(|within| self.now + wish.delay + within),
            is_held: wish.is_held,
            was_blocked: false,
            asked_at: self.now,
            has_started: false,
            is_running: false,
            is_asked_to_stop: false,
            waits_for_next_try: false,
            tries: 0,
            end: None,
        });
        let at = self.jobs.len() - 1;
        self.jobs[at].was_blocked = self.is_blocked(at);
        true
    }

    fn is_late(&self, at: usize) -> bool {
        let job = &self.jobs[at];
        !job.has_started && job.start_by.is_some_and(|by| by <= self.now)
    }

    fn look(&mut self, slots: usize) -> bool {
        let late: Vec<_> = (0..self.jobs.len())
            .filter(|at| ["SCHEDULED", "QUEUED"].contains(&self.state(*at)) && self.is_late(*at))
            .collect();
        for at in late {
            self.jobs[at].end = Some("EXPIRED");
        }
        self.follow();
        for at in 0..self.jobs.len() {
            let is_due = self.jobs[at].run_at <= self.now;
            if is_due && ["SCHEDULED", "RETRYING"].contains(&self.state(at)) {
                self.jobs[at].asked_at = self.now;
                self.jobs[at].waits_for_next_try = false;
            }
        }
        let first: Vec<_> = (0..self.jobs.len())
            .filter(|at| self.state(*at) == "QUEUED" && !self.is_late(*at))
            .take(slots)
            .collect();
        for at in first {
            (self.jobs[at].is_running, self.jobs[at].has_started) = (true, true);
        }
        true
    }

    fn end(&mut self, nth: usize, end: &End) -> bool {
        let running: Vec<_> = (0..self.jobs.len()).filter(|at| self.jobs[*at].is_running).collect();
        if running.is_empty() {
            return false;
        }
        let now = self.now;
        let job = &mut self.jobs[running[nth % running.len()]];
        job.is_running = false;
        if end.outcome != "INTERRUPTED" {
            job.tries += 1;
        }
        let fits_policy = (!job.wish.only_lost || end.outcome == "LOST")
            && (!job.wish.only_75 || end.outcome != "EXITED" || end.code == 75);
        // In the order of what outranks what.
        if end.outcome == "SUCCEEDED" {
            job.end = Some("SUCCEEDED");
        } else if end.outcome == "CANCELLED" || job.is_asked_to_stop {
            job.end = Some("CANCELLED");
        } else if end.says_no {
            job.end = Some("FAILED");
        } else if end.outcome == "INTERRUPTED" {
            job.end = (!job.wish.is_restartable).then_some("FAILED");
        } else if (fits_policy || end.says_after.is_some()) && job.tries < job.wish.tries_max {
            // 5 s, twice as long each time, at most 10 min.
            let mut wait = 5_000;
            for _ in 1..job.tries {
                wait = (wait * 2).min(600_000);
            }
            job.run_at = now + end.says_after.unwrap_or(wait);
            job.waits_for_next_try = true;
        } else {
            job.end = Some("FAILED");
        }
        true
    }

    fn cancel(&mut self, at: usize) -> bool {
        let job = &mut self.jobs[at];
        if job.end.is_some() {
            return false;
        }
        if job.is_running {
            job.is_asked_to_stop = true;
        } else {
            job.end = Some("CANCELLED");
        }
        true
    }

    fn release(&mut self, at: usize) -> bool {
        if self.state(at) != "HELD" {
            return false;
        }
        self.jobs[at].is_held = false;
        self.jobs[at].asked_at = self.now;
        self.jobs[at].was_blocked = self.is_blocked(at);
        true
    }

    /// What the ends of jobs mean for those that wait for them, until nothing follows any more.
    fn follow(&mut self) {
        let mut is_settled = false;
        while !is_settled {
            is_settled = true;
            for at in 0..self.jobs.len() {
                let job = &self.jobs[at];
                if job.end.is_some() || job.is_held || job.has_started {
                    continue;
                }
                let has_failed = |on: &usize| self.jobs[*on].end.is_some_and(|end| end != "SUCCEEDED");
                if !job.wish.runs_anyway && job.wish.on.iter().any(has_failed) {
                    self.jobs[at].end = Some("SKIPPED");
                    is_settled = false;
                } else if job.was_blocked && !self.is_blocked(at) {
                    self.jobs[at].was_blocked = false;
                    self.jobs[at].asked_at = self.now;
                }
            }
        }
    }
}
