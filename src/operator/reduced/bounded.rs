//! Parts of objects whose size tenants choose, bounded while they are parsed.

use crate::limits::NAME_BYTES;
use countersign_api::keys::{
    AGENT_CARD_LABEL, CONFIG_HASH_ANNOTATION, CREDENTIALS_ANNOTATION, ENROLLED_LABEL, Family,
    MANAGED_BY_APP_LABEL, MANAGED_BY_LABEL, MESH_DISABLED, MESH_LABELS, MODE_LABEL, MTLS_MODE_ANNOTATION,
    PEER_MARK_LABEL, POLICY_ROLE_LABEL, POLICY_TYPE_LABEL, REASON_ANNOTATION, RELEASED_POD_ANNOTATION,
    REPLACED_POD_ANNOTATION, RUNTIME_LABEL, SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION,
    SIDECAR_SPIFFE_ANNOTATION, WORKLOAD_LABEL,
};
use countersign_plan::input::endpoint::SERVICE_LABEL;
use countersign_plan::input::labels::LabelsSize;
use countersign_plan::input::sandbox::SANDBOX_POD_ANNOTATION;
use countersign_plan::limits::{ITEMS, LABEL_BYTES, SKILLS_BYTES};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Labels of an object, or the ones that it selects by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    /// All labels; if there are too many, those alone whose keys the operator reads.
    pub(crate) kept: BTreeMap<String, String>,
    /// Size of all labels.
    pub(crate) size: LabelsSize,
}

/// True for keys whose values mean something by themselves; other labels count only where a selector names them.
fn is_read(key: &str) -> bool {
    const READ: [&str; 11] = [
        AGENT_CARD_LABEL,
        ENROLLED_LABEL,
        MANAGED_BY_APP_LABEL,
        MANAGED_BY_LABEL,
        MODE_LABEL,
        PEER_MARK_LABEL,
        POLICY_ROLE_LABEL,
        POLICY_TYPE_LABEL,
        RUNTIME_LABEL,
        SERVICE_LABEL,
        WORKLOAD_LABEL,
    ];
    let enrols = |family: Family| {
        family.type_label() == key
            || family.inject_label() == key
            || family.protocol_labels().contains(&key)
            || key.strip_prefix(family.protocol_prefix()) == Some("a2a")
    };
    READ.contains(&key)
        || MESH_LABELS.iter().any(|(label, _)| *label == key)
        || Family::ALL.into_iter().any(enrols)
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some((key, value)) = map.next_entry::<Cow<'_, str>, Cow<'_, str>>()? {
                    labels.size = labels.size.with(&key, &value);
                    if !labels.size.is_too_large() || (is_read(&key) && value.len() <= LABEL_BYTES) {
                        labels.kept.insert(key.into_owned(), value.into_owned());
                    }
                }
                if labels.size.is_too_large() {
                    labels.kept.retain(|key, _| is_read(key));
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_any(Map)
    }
}

/// First [`ITEMS`] items of a list.
#[derive(Clone, Debug)]
pub(crate) struct Few<T> {
    /// Items kept, in order.
    pub(crate) kept: Vec<T>,
    /// True if there are more.
    pub(crate) are_too_many: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Few<T>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < ITEMS {
                    let Some(item) = items.next_element()? else {
                        // Kept for as long as the object; a list grows to room for four.
                        kept.shrink_to_fit();
                        return Ok(Few { kept, are_too_many: false });
                    };
                    kept.push(item);
                }
                let mut are_too_many = false;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    are_too_many = true;
                }
                Ok(Few { kept, are_too_many })
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// Name of at most [`NAME_BYTES`], and nothing of a longer one.
#[derive(Clone, Debug)]
pub(crate) struct Short(Option<String>);

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        Ok(Self((text.len() <= NAME_BYTES).then(|| text.into_owned())))
    }
}

/// All names of a list; `None` if one of them was too long.
pub(crate) fn whole(names: Vec<Short>) -> Option<Vec<String>> {
    names.into_iter().map(|name| name.0).collect()
}

/// Annotations that the operator reads, each cut to [`ANNOTATION_BYTES`]; an object may have 256 KiB of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations(pub(crate) BTreeMap<String, String>);

/// Bytes of one annotation that are kept: enough to see that the longest which is read is longer than it may be.
const ANNOTATION_BYTES: usize = SKILLS_BYTES.saturating_add(char::MAX_LEN_UTF8);

/// True for annotations that the operator reads. Those of the mesh mean nothing with another value.
fn is_read_annotation(key: &str, value: &str) -> bool {
    const READ: [&str; 10] = [
        CONFIG_HASH_ANNOTATION,
        CREDENTIALS_ANNOTATION,
        MTLS_MODE_ANNOTATION,
        REASON_ANNOTATION,
        RELEASED_POD_ANNOTATION,
        REPLACED_POD_ANNOTATION,
        SANDBOX_POD_ANNOTATION,
        SIDECAR_ANNOTATION,
        SIDECAR_CONFIG_ANNOTATION,
        SIDECAR_SPIFFE_ANNOTATION,
    ];
    READ.contains(&key)
        || Family::ALL.into_iter().any(|family| {
            family.skills_annotation() == key || (family.mesh_annotation() == key && value == MESH_DISABLED)
        })
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<Cow<'_, str>, Cow<'_, str>>()? {
                    if is_read_annotation(&key, &value) {
                        let end = value.floor_char_boundary(ANNOTATION_BYTES);
                        kept.insert(key.into_owned(), value.get(..end).unwrap_or_default().to_owned());
                    }
                }
                Ok(Annotations(kept))
            }
        }
        deserializer.deserialize_any(Map)
    }
}
