//! The stories, each on a daemon of its own. What they claim stands in their scripts.

use beadle::base::clock::{Clock as _, SystemClock};

use super::{tell, tell_of};
use crate::support::daemon::Daemon;
use crate::support::database::execute;
use crate::support::length::sized;
use crate::support::past::past;

#[test]
fn the_banner_link_leads_in_and_a_task_runs_from_its_form_with_its_progress_and_log_live() {
    tell("run", &mut Daemon::start());
}

#[test]
fn a_wrong_token_is_refused_in_words_and_a_reading_one_sees_no_button_that_it_may_not_press() {
    tell("tokens", &mut Daemon::start());
}

#[test]
fn a_running_job_is_stopped_and_repeated_from_its_page() {
    tell("stop", &mut Daemon::start());
}

#[test]
fn many_jobs_are_cancelled_and_retried_at_once_after_a_look_at_what_it_touches() {
    tell("bulk", &mut Daemon::start());
}

#[test]
fn a_task_and_a_command_are_run_and_followed_without_a_mouse() {
    tell("keys", &mut Daemon::start());
}

#[test]
fn what_was_not_saved_is_not_lost_without_a_question() {
    tell("unsaved", &mut Daemon::start());
}

#[test]
fn a_long_log_opens_at_its_end_and_takes_no_more_room_than_what_is_seen() {
    // 22 MB, or 220 MB.
    let lines = sized(250_000, 2_500_000);
    tell_of("log", lines, &mut Daemon::start_with(&["--log-attempt-cap", "1GiB"]));
}

#[test]
fn the_jobs_screen_is_as_quick_beside_a_long_history() {
    let jobs = sized(20_000, 1_000_000);
    let mut daemon = Daemon::start();
    daemon.terminate();
    let count = i64::try_from(jobs).expect("not so many");
    // All of them are younger than what retention takes away.
    let last_us = SystemClock.now().0 - 60_000_000;
    execute(&daemon.data().join("beadle.db"), &past(count, last_us, 200_000));
    daemon.restart();
    tell_of("past", jobs, &mut daemon);
}

#[test]
fn a_failing_task_becomes_an_incident_that_is_resolved() {
    tell("incident", &mut Daemon::start());
}

#[test]
fn a_paused_queue_says_its_reason_on_the_jobs_that_wait() {
    tell("pause", &mut Daemon::start());
}

#[test]
fn a_schedule_is_changed_with_its_due_times_shown_before() {
    tell("schedule", &mut Daemon::start());
}

#[test]
fn a_page_outlives_the_daemon_under_it_without_being_loaded_again() {
    tell("restart", &mut Daemon::start());
}

#[test]
fn the_first_load_is_small_and_every_screen_can_be_read_by_everybody() {
    tell("everybody", &mut Daemon::start());
}

#[test]
#[ignore = "it writes pictures into docs, to be looked at"]
fn pictures_are_taken_of_every_screen() {
    tell("pictures", &mut Daemon::start());
}
