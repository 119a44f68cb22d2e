//! Values kept for every object of a cluster, as JSON: a parsed status or map takes several times the memory of its text.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Value of type `T` as JSON, cheap to clone. Equal values have equal texts.
pub struct Kept<T> {
    json: Arc<str>,
    of: PhantomData<fn() -> T>,
}

impl<T: Default + DeserializeOwned + Serialize> Kept<T> {
    /// JSON of a value; `None` if it could not be read again.
    pub fn of(value: &T) -> Option<Self> {
        let json = serde_json::to_string(value).ok()?;
        serde_json::from_str::<T>(&json).ok()?;
        Some(Self { json: json.into(), of: PhantomData })
    }

    /// The value. What is kept was read once, so that the default stands for [`Kept::default`] alone.
    pub fn read(&self) -> T {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// The value as JSON, which is what is kept: nothing is read into `T` for it.
    ///
    /// # Errors
    /// Those of `T::serialize` for [`Kept::default`], which keeps no text.
    pub fn to_json(&self) -> serde_json::Result<Value> {
        if self.json.is_empty() {
            serde_json::to_value(T::default())
        } else {
            serde_json::from_str(&self.json)
        }
    }
}

impl<T> Default for Kept<T> {
    /// The default value of `T`.
    fn default() -> Self {
        Self { json: Arc::default(), of: PhantomData }
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { json: Arc::clone(&self.json), of: PhantomData }
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl<T> Eq for Kept<T> {}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Labels = BTreeMap<String, String>;

    #[test]
    fn what_is_kept_reads_as_what_it_was() {
        for pairs in [&[][..], &[("app", "weather"), ("a\u{0}\"=,", "\u{1f600}\\")]] {
            let labels: Labels =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let kept = Kept::of(&labels).unwrap();
            assert_eq!(kept.read(), labels);
            assert_eq!(kept, kept.clone());
        }
        assert_eq!(Kept::<Labels>::default().read(), Labels::new());
    }

    #[test]
    fn the_json_of_what_is_kept_is_its_text() {
        /// What is read as `T`, and would be written as another.
        #[derive(Clone, Debug, Default, Serialize, serde::Deserialize)]
        struct Renamed {
            #[serde(default, rename(serialize = "written"))]
            read: u8,
        }
        let kept = Kept::of(&Renamed { read: 7 }).unwrap();
        assert_eq!(kept.to_json().unwrap(), serde_json::json!({ "written": 7 }));
        assert_eq!(Kept::<Labels>::default().to_json().unwrap(), serde_json::json!({}));
    }

    #[test]
    fn a_value_that_could_not_be_read_again_is_not_kept() {
        assert!(Kept::of(&f64::NAN).is_none(), "JSON has no such number");
    }
}
