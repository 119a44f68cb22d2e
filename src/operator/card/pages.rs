//! Lists of objects of a namespace, page by page. Each object is reduced as it arrives, so that memory is bounded whatever
//! tenants write into their objects.

use crate::context::Context;
use crate::limits::{LIST_OBJECTS, PAGE_METADATA, PAGE_OBJECTS};
use countersign_core::text::Quoted;
use kube::api::{ListParams, ObjectList};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;

/// Reads the whole objects that a selector matches, and hands each to `take`. The error completes a sentence.
pub(crate) async fn each_object<K>(
    context: &Context,
    api: &Api<K>,
    selector: &str,
    take: impl FnMut(K),
) -> Result<(), String>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let list = ListParams::default().labels(selector).limit(PAGE_OBJECTS);
    each(context, list, |page| async move { api.list(&page).await }, take).await
}

/// Reads the metadata of the objects that a selector matches, and hands each to `take`. The error completes a sentence.
pub(crate) async fn each_metadata<K>(
    context: &Context,
    api: &Api<K>,
    selector: &str,
    take: impl FnMut(PartialObjectMeta<K>),
) -> Result<(), String>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let list = ListParams::default().labels(selector).limit(PAGE_METADATA);
    each(context, list, |page| async move { api.list_metadata(&page).await }, take).await
}

async fn each<T, F>(
    context: &Context,
    mut page: ListParams,
    list: impl Fn(ListParams) -> F,
    mut take: impl FnMut(T),
) -> Result<(), String>
where
    T: Clone,
    F: Future<Output = Result<ObjectList<T>, kube::Error>>,
{
    let mut seen: usize = 0;
    loop {
        // Held until the page is reduced.
        let _turn = context.pages.acquire().await;
        let read = list(page.clone()).await;
        let read = read.map_err(|error| format!("could not be read: {}", Quoted(&error.to_string())))?;
        seen = seen.saturating_add(read.items.len());
        read.items.into_iter().for_each(&mut take);
        let Some(token) = read.metadata.continue_.filter(|token| !token.is_empty()) else { return Ok(()) };
        if seen >= LIST_OBJECTS {
            return Err(format!("are more than the {LIST_OBJECTS} that are read: delete some of them"));
        }
        page = page.continue_token(&token);
    }
}
