//! Tests of the questions that a token's grants answer.

use super::*;

const ME: TokenId = TokenId(7);

fn viewer(grants: &[Grant]) -> Viewer {
    Viewer { token_id: ME, token_name: "ci".to_owned(), grants: grants.to_vec(), expires_at: None }
}

fn own(verb: GrantVerb) -> Grant {
    Grant { own_jobs_only: true, ..Grant::of(verb) }
}

fn globs(verb: GrantVerb, globs: &[&str]) -> Grant {
    Grant { tasks: Some(globs.iter().map(|&one| one.to_owned()).collect()), ..Grant::of(verb) }
}

#[test]
fn sight_is_as_wide_as_the_widest_read() {
    for (grants, expected) in [
        (vec![], Sight::OwnJobs(ME)),
        (vec![own(GrantVerb::Read)], Sight::OwnJobs(ME)),
        (vec![Grant::of(GrantVerb::Operate), Grant::of(GrantVerb::Cancel)], Sight::OwnJobs(ME)),
        (vec![Grant::of(GrantVerb::Command), globs(GrantVerb::Enqueue, &["*"])], Sight::OwnJobs(ME)),
        (vec![Grant::of(GrantVerb::Read)], Sight::AllButTokens),
        (vec![own(GrantVerb::Read), Grant::of(GrantVerb::Read)], Sight::AllButTokens),
        (vec![Grant::of(GrantVerb::Admin)], Sight::All),
        (vec![own(GrantVerb::Read), Grant::of(GrantVerb::Admin)], Sight::All),
    ] {
        assert_eq!(viewer(&grants).sight(), expected, "{grants:?}");
    }
}

#[test]
fn jobs_are_made_of_the_tasks_that_a_glob_fits_and_of_commands_by_their_own_grant_only() {
    let code = |viewer: &Viewer, task| viewer.check_enqueue("id", task).err().map(|refusal| refusal.code);
    let ci = viewer(&[globs(GrantVerb::Enqueue, &["deploy-*", "test"]), Grant::of(GrantVerb::Read)]);
    for (task, is_allowed) in [
        (Some("deploy-a"), true),
        (Some("test"), true),
        (Some("tests"), false),
        (Some("wipe"), false),
        (None, false),
    ] {
        assert_eq!(code(&ci, task).is_none(), is_allowed, "{task:?}");
    }
    let all = viewer(&[Grant::of(GrantVerb::Enqueue)]);
    assert_eq!((code(&all, Some("wipe")), code(&all, None)), (None, Some(UserErrorCode::Forbidden)));
    let command = viewer(&[Grant::of(GrantVerb::Command)]);
    assert_eq!((code(&command, Some("wipe")), code(&command, None)), (Some(UserErrorCode::Forbidden), None));
    let admin = viewer(&[Grant::of(GrantVerb::Admin)]);
    assert_eq!((code(&admin, Some("wipe")), code(&admin, None)), (None, None));
    let refusal = ci.check_enqueue("run.task", Some("wipe")).unwrap_err();
    assert!(refusal.message.contains("ENQUEUE") && refusal.message.contains("wipe"), "{}", refusal.message);
}

#[test]
fn many_jobs_are_changed_by_a_grant_without_globs_and_only_those_in_sight() {
    let sight = |grants: &[Grant]| {
        viewer(grants).narrowed(GrantVerb::Cancel, JobFilter::default()).map(|filter| filter.sight)
    };
    assert_eq!(sight(&[Grant::of(GrantVerb::Admin)]), Ok(Sight::All));
    assert_eq!(sight(&[Grant::of(GrantVerb::Cancel)]), Ok(Sight::OwnJobs(ME)));
    let both = [Grant::of(GrantVerb::Cancel), Grant::of(GrantVerb::Read)];
    assert_eq!(sight(&both), Ok(Sight::AllButTokens));
    assert_eq!(sight(&[own(GrantVerb::Cancel), Grant::of(GrantVerb::Read)]), Ok(Sight::OwnJobs(ME)));
    for grants in [vec![], vec![globs(GrantVerb::Cancel, &["*"])], vec![Grant::of(GrantVerb::Read)]] {
        assert_eq!(sight(&grants).unwrap_err().code, UserErrorCode::Forbidden, "{grants:?}");
    }
}
