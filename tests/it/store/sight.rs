//! What a token that sees its own jobs only is shown of lists, counts and the feed; and the token rows.

use beadle::domain::access::{Grant, GrantVerb, Sight};
use beadle::domain::duration::Span;
use beadle::domain::filter::{EventFilter, JobFilter, JobOrder, JobOrderField, OrderDirection};
use beadle::domain::id::{JobId, TokenId};
use beadle::domain::job_parts::JobParts;
use beadle::domain::new_job::NewJob;
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::token::NewToken;
use beadle::store::tokens::{CreateToken, NoteTokenUse, RevokeToken};

use super::stage::{Stage, T0, new_job, on_both};

fn of_token(token: i64) -> NewJob {
    NewJob { token_id: Some(TokenId(token)), ..new_job() }
}

#[test]
fn own_jobs_are_all_that_lists_counts_and_feed_show() {
    on_both(async |stage: Stage| {
        let mut mine: Vec<JobId> = Vec::new();
        for _ in 0..3 {
            mine.push(stage.enqueue(of_token(7)).await);
            stage.enqueue(of_token(8)).await;
            stage.enqueue(new_job()).await;
        }
        let sight = Sight::OwnJobs(TokenId(7));
        let filter = JobFilter { sight, ..JobFilter::default() };
        for field in [
            JobOrderField::CreatedAt,
            JobOrderField::RunAt,
            JobOrderField::FinishedAt,
            JobOrderField::Priority,
        ] {
            for direction in [OrderDirection::Asc, OrderDirection::Desc] {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let order = JobOrder { field, direction };
                    let page = stage.reader().jobs(&filter, order, after.as_deref(), 2, JobParts::ALL).await;
                    let page = page.expect("the store can be read").expect("a position of ours");
                    after = page.rows.last().map(|(position, _)| position.clone());
                    found.extend(page.rows.into_iter().map(|(_, job)| job.id));
                    if !page.has_more {
                        break;
                    }
                }
                found.sort();
                assert_eq!(found, mine, "{field:?} {direction:?}");
            }
        }
        let counts = stage.reader().count_jobs(&filter).await.expect("the store can be read");
        assert_eq!(counts.counts.values().sum::<i64>(), 3);
        let all = stage.reader().count_jobs(&JobFilter::default()).await.expect("the store can be read");
        assert_eq!(all.counts.values().sum::<i64>(), 9);
        let events = stage.events(&EventFilter { sight, ..EventFilter::default() }).await;
        assert_eq!(events.iter().filter_map(|event| event.job_id).collect::<Vec<_>>(), mine);
        assert_eq!(events.len(), 3);
    });
}

async fn make(stage: &Stage, name: &str, verb: GrantVerb, seconds: Option<i64>) -> TokenId {
    let expires_in = seconds.map(Span::from_secs);
    let token = NewToken { name: name.to_owned(), grants: vec![Grant::of(verb)], expires_in };
    stage.apply(CreateToken { token, digest: format!("digest of {name}"), actor: "admin".to_owned() }).await
}

fn revoke(id: TokenId) -> RevokeToken {
    RevokeToken { id, actor: "admin".to_owned() }
}

#[test]
fn a_token_is_valid_until_it_is_revoked_or_expires() {
    on_both(async |stage: Stage| {
        let admin = make(&stage, "admin", GrantVerb::Admin, None).await;
        let brief = make(&stage, "brief", GrantVerb::Admin, Some(60)).await;
        let reader = make(&stage, "reader", GrantVerb::Read, None).await;
        let who = async |name: &str, after: i64| {
            let now = T0.plus_millis(after * 1_000);
            let viewer = stage.reader().viewer(&format!("digest of {name}"), now).await;
            viewer.expect("the store can be read").map(|viewer| viewer.token_id)
        };
        assert_eq!(who("brief", 59).await, Some(brief));
        assert_eq!(who("brief", 60).await, None);
        assert_eq!(who("nobody", 0).await, None);
        stage.apply(NoteTokenUse { id: reader, at: T0 }).await;
        let page = stage.reader().tokens("", 2).await.expect("the store can be read");
        let names: Vec<_> = page.rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, page.has_more), (vec!["admin", "brief"], true));
        let token = stage.reader().token(reader).await.expect("the store can be read").expect("it exists");
        assert_eq!((token.last_used_at, token.revoked_at), (Some(T0), None));
        stage.apply(revoke(reader)).await;
        assert_eq!(who("reader", 0).await, None);
        assert!(stage.reader().knows_token("digest of reader").await.expect("the store can be read"));
        // While another one is valid, either administrator may go; the last one may not.
        stage.pass_millis(60_000);
        assert_eq!(stage.rejection(revoke(admin)).await.code, UserErrorCode::Conflict);
        let second = make(&stage, "second", GrantVerb::Admin, None).await;
        stage.apply(revoke(admin)).await;
        assert_eq!(stage.rejection(revoke(second)).await.code, UserErrorCode::Conflict);
        assert_eq!(stage.rejection(revoke(TokenId(999))).await.code, UserErrorCode::NotFound);
        let token = NewToken { name: "reader".to_owned(), grants: Vec::new(), expires_in: None };
        let again = CreateToken { token, digest: "another".to_owned(), actor: "admin".to_owned() };
        assert_eq!(stage.rejection(again).await.code, UserErrorCode::AlreadyExists);
    });
}

#[test]
fn who_may_not_see_tokens_is_not_told_of_them_by_the_feed() {
    on_both(async |stage: Stage| {
        make(&stage, "admin", GrantVerb::Admin, None).await;
        stage.enqueue(new_job()).await;
        let count = async |sight| stage.events(&EventFilter { sight, ..EventFilter::default() }).await.len();
        assert_eq!(count(Sight::All).await, 2);
        assert_eq!(count(Sight::AllButTokens).await, 1);
        assert_eq!(count(Sight::OwnJobs(TokenId(1))).await, 0);
    });
}
