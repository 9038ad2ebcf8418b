//! Tests of who an orphan belongs to, and when it is due.

use super::*;

fn stat(parent: i32, group: i32, session: i32, start_ticks: u64) -> Stat {
    Stat { state: b'S', parent, group, session, start_ticks }
}

fn growing(leader: (i32, u64), phase: Phase) -> Growing {
    Growing { leader, cookie: format!("cookie {}", leader.0), phase, held_ticks: None, left: Vec::new() }
}

/// Two trees: 100, which began at 1,000, and 200, which began at 2,000.
fn two() -> State {
    let trees = [(1, growing((100, 1_000), Phase::Running)), (2, growing((200, 2_000), Phase::Stopping))];
    State { adopts: true, growing: trees.into(), ..State::default() }
}

#[test]
fn an_orphan_is_known_by_cookie_group_session_or_time() {
    let mut state = two();
    let own = (50, 50);
    let owner =
        |state: &State, stat: Stat, cookie: Option<&str>| state.owner(&stat, cookie.map(str::as_bytes), own);
    assert_eq!(owner(&state, stat(7, 300, 300, 3_000), Some("cookie 200")), Some(2));
    assert_eq!(owner(&state, stat(7, 100, 50, 3_000), None), Some(1));
    assert_eq!(owner(&state, stat(7, 200, 50, 1_500), None), None, "200 began later: another group");
    assert_eq!(owner(&state, stat(7, 300, 300, 3_000), Some("of another daemon")), None);
    assert_eq!(state.suspects(&stat(7, 300, 300, 3_000)), [1, 2]);
    assert_eq!(state.suspects(&stat(7, 300, 300, 1_500)), [1]);
    assert_eq!(state.suspects(&stat(7, 300, 300, 500)), Vec::<u64>::new(), "older than all that run");
    state.growing.get_mut(&1).unwrap().held_ticks = Some(1_001);
    assert_eq!(
        state.suspects(&stat(7, 300, 300, 1_001)),
        [1],
        "it slipped out before the control group had it"
    );
    assert_eq!(state.suspects(&stat(7, 300, 300, 3_000)), [2], "the control group of 100 would have it");
    let known = Known { stat: stat(7, 300, 300, 3_000), owners: vec![2], is_out_of_reach: false };
    state.known.insert(300, known);
    assert_eq!(owner(&state, stat(7, 301, 300, 3_000), None), Some(2), "of the same session");
    assert_eq!(owner(&state, stat(7, 50, 50, 3_000), None), None, "our own places tell nothing");
}

#[test]
fn only_what_no_running_attempt_may_own_is_due() {
    let own = getpid().as_raw_nonzero().get();
    let mut state = two();
    let all = [
        (100, stat(own, 100, 50, 1_000)),
        (200, stat(own, 200, 50, 2_000)),
        (201, stat(200, 200, 50, 2_001)),
        // Pids that no process has: nothing is read of them, and nothing sent to them.
        (i32::MAX - 1, stat(own, 300, 300, 3_000)),
        (i32::MAX - 2, stat(i32::MAX - 1, 300, 300, 3_001)),
    ];
    let left = |state: &State, id: u64| state.growing[&id].left.clone();
    assert_eq!(state.sort(&all), []);
    assert_eq!((left(&state, 1), left(&state, 2)), (Vec::new(), vec![201]));
    state.growing.remove(&1);
    assert_eq!(state.sort(&all[1..]), []);
    assert_eq!(left(&state, 2), [201, i32::MAX - 1, i32::MAX - 2]);
    state.growing.remove(&2);
    assert_eq!(state.sort(&all[2..]), [(i32::MAX - 1, 3_000), (i32::MAX - 2, 3_001)]);
}

#[test]
fn one_that_had_children_before_leaves_theirs_alone() {
    let own = getpid().as_raw_nonzero().get();
    let mut state = two();
    state.growing.clear();
    state.before.insert((400, 1));
    // The second may be a grandchild of the first, whose parent ended just now.
    let all = [(400, stat(own, 400, 400, 1)), (i32::MAX - 1, stat(own, 300, 300, 3_000))];
    assert_eq!(state.sort(&all), []);
}

#[test]
fn members_below_a_leader_are_remembered_when_they_are_asked_to_end() {
    let mut state = two();
    let all = [
        (100, stat(7, 100, 50, 1_000)),
        (101, stat(100, 100, 50, 1_001)),
        (102, stat(101, 102, 102, 1_002)),
        (200, stat(7, 200, 50, 2_000)),
        (202, stat(200, 202, 202, 2_002)),
    ];
    assert_eq!(state.note_members(1, &[202], &all), [(102, 1_002), (202, 2_002)]);
    assert_eq!(state.owner(&stat(7, 102, 102, 1_003), None, (50, 50)), Some(1));
}

#[test]
fn what_may_be_the_child_of_a_start_that_hangs_is_left_alone_and_nothing_else_is() {
    let own = getpid().as_raw_nonzero().get();
    let mut state = two();
    state.growing.clear();
    state.starting.insert(1, 5_000);
    let (young, old, late) = (i32::MAX - 1, i32::MAX - 2, i32::MAX - 3);
    let all = [
        (young, stat(own, young, 50, 5_000)),
        (old, stat(own, old, 50, 4_999)),
        (late, stat(own, late, 50, 5_001 + BEGINS_WITHIN_TICKS)),
    ];
    assert_eq!(state.sort(&all), [(old, 4_999), (late, 5_001 + BEGINS_WITHIN_TICKS)]);
    state.starting.clear();
    assert_eq!(state.sort(&all[..1]), [(young, 5_000)]);
    // What bears the mark of an attempt that runs is known at once.
    let mut state = two();
    state.starting.insert(1, 2_500);
    assert_eq!(state.owner(&stat(own, 200, 50, 3_000), None, (50, 50)), Some(2));
    assert!(state.know(young, &stat(own, 200, 50, 3_000)).is_some_and(|known| known.owners == [2]));
    assert!(state.know(old, &stat(own, old, old, 3_000)).is_none());
}
