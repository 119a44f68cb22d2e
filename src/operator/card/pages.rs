//! Lists of objects of a namespace, page by page. Each object is reduced as it arrives, so that memory is bounded whatever
//! tenants write into their objects.

use crate::context::Context;
use crate::limits::{LIST_OBJECTS, LIST_WITHIN};
use countersign_controller::api_error::Explained;
use countersign_controller::failure::is_passing;
use countersign_plan::agent_card::settles::Settles;
use kube::api::{ListParams, ObjectList};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Answer of the API server to a list whose pages it does not have any more (RFC 9110 section 15.5.11): a new list has them.
const GONE: u16 = 410;
/// Answers about the operator's account (RFC 9110): an API server that starts gives them until it has read tokens and rules.
const NOT_ALLOWED: [u16; 2] = [401, 403];

/// List that was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Cause, which completes a sentence.
    pub(crate) problem: String,
    /// How long the cause may last before it counts; `None` if it does not pass by itself.
    pub(crate) settles: Option<Settles>,
}

impl Unread {
    /// Failed request of the API server.
    pub(crate) fn failed(error: &kube::Error) -> Self {
        let settles = match error {
            kube::Error::Api(status) if NOT_ALLOWED.contains(&status.code) => Some(Settles::Soon),
            kube::Error::Api(status) if status.code == GONE => Some(Settles::Later),
            other => is_passing(other).then_some(Settles::Later),
        };
        Self { problem: format!("could not be read: {}", Explained(error)), settles }
    }
}

/// Reads the objects that a selector matches, `page` at a time, and hands each to `take`.
pub(crate) async fn each_object<K>(
    context: &Context,
    api: &Api<K>,
    (selector, page): (&str, u32),
    take: impl FnMut(K),
) -> Result<(), Unread>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let list = ListParams::default().labels(selector).limit(page);
    each(&context.pages, list, |page| async move { api.list(&page).await }, take).await
}

async fn each<T, F>(
    turns: &Semaphore,
    mut page: ListParams,
    list: impl Fn(ListParams) -> F,
    mut take: impl FnMut(T),
) -> Result<(), Unread>
where
    T: Clone,
    F: Future<Output = Result<ObjectList<T>, kube::Error>>,
{
    let all = async {
        let mut seen: usize = 0;
        loop {
            // Held until the page is reduced.
            let _turn = turns.acquire().await;
            let read = list(page.clone()).await.map_err(|error| Unread::failed(&error))?;
            seen = seen.saturating_add(read.items.len());
            read.items.into_iter().for_each(&mut take);
            let Some(token) = read.metadata.continue_.filter(|token| !token.is_empty()) else {
                return Ok(());
            };
            if seen >= LIST_OBJECTS {
                let problem = format!(
                    "are more than the {LIST_OBJECTS} that are read: delete some of them, or move the \
                     agent to a namespace of its own"
                );
                return Err(Unread { problem, settles: None });
            }
            page = page.continue_token(&token);
        }
    };
    timeout(LIST_WITHIN, all).await.unwrap_or_else(|_| {
        let problem = format!("were not read to their end within {LIST_WITHIN:?}");
        // Tenants decide how long their lists take.
        Err(Unread { problem, settles: Some(Settles::Soon) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::{ListMeta, TypeMeta};
    use kube::core::Status;
    use std::cell::Cell;

    #[test]
    fn a_list_may_come_while_the_api_server_starts_and_a_right_that_is_missing_is_named() {
        let failed = |code, message: &str| {
            let status = Status { code, ..Status::failure(message, "Reason") };
            Unread::failed(&kube::Error::Api(status.boxed()))
        };
        let settles = |code| failed(code, "no").settles;
        assert_eq!([410, 429, 500, 503].map(settles), [Some(Settles::Later); 4]);
        assert_eq!([401, 403].map(settles), [Some(Settles::Soon); 2]);
        assert_eq!([400, 404].map(settles), [None; 2]);
        let unread = failed(
            403,
            "services is forbidden: User \"u\" cannot list resource \"services\" in API group \"\"",
        );
        assert!(
            unread.problem.contains("a right is missing: the account \"u\" may not list services"),
            "{unread:?}"
        );
    }

    #[tokio::test]
    async fn a_list_ends_at_its_limit_and_says_what_to_do() {
        let read = async |count: usize| {
            let (left, taken) = (Cell::new(count), Cell::new(0));
            let list = |page: ListParams| {
                let size = left.get().min(usize::try_from(page.limit.unwrap()).unwrap());
                left.set(left.get() - size);
                let continue_ = (left.get() > 0).then(|| "more".to_owned());
                let metadata = ListMeta { continue_, ..ListMeta::default() };
                let page = ObjectList { types: TypeMeta::default(), metadata, items: vec![(); size] };
                std::future::ready(Ok(page))
            };
            let first = ListParams::default().limit(2);
            let read = each(&Semaphore::new(1), first, list, |()| taken.set(taken.get() + 1)).await;
            (read, taken.get())
        };
        assert_eq!(read(LIST_OBJECTS).await, (Ok(()), LIST_OBJECTS));
        let (unread, taken) = read(LIST_OBJECTS + 1).await;
        let Unread { problem, settles } = unread.unwrap_err();
        assert!(settles.is_none() && taken == LIST_OBJECTS);
        assert_eq!(
            problem,
            "are more than the 2000 that are read: delete some of them, or move the agent to a namespace of its own"
        );
    }
}
