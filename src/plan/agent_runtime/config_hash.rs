//! Hash over the configuration of cluster and namespace that sidecars are made from. A change of it rolls the Pods.
//! The value is that of the existing operator, so that a migration restarts nobody.

use countersign_core::encoding::sha256;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Data of a ConfigMap.
pub type Data = BTreeMap<String, String>;

/// Configuration that sidecars are made from; what is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSources {
    /// Feature gates of the cluster.
    pub feature_gates: Data,
    /// Defaults of the cluster.
    pub platform: Data,
    /// Data of each ConfigMap with defaults of the namespace, by name. The first counts.
    pub namespace: BTreeMap<String, Data>,
    /// AuthBridge's configuration in the namespace, as text.
    pub runtime: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hashed<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    feature_gates: &'a Data,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    defaults: Data,
    #[serde(skip_serializing_if = "str::is_empty")]
    auth_bridge_runtime: &'a str,
}

impl ConfigSources {
    /// SHA-256 in 64 hexadecimal digits, over JSON as Go's `encoding/json` writes it.
    ///
    /// # Errors
    /// Those of `serde_json`, which has none for texts.
    pub fn hash(&self) -> serde_json::Result<String> {
        let mut defaults = self.platform.clone();
        if let Some((_, first)) = self.namespace.iter().next() {
            defaults.extend(first.clone());
        }
        let (feature_gates, auth_bridge_runtime) = (&self.feature_gates, self.runtime.as_str());
        let text = serde_json::to_string(&Hashed { feature_gates, defaults, auth_bridge_runtime })?;
        Ok(sha256(as_go_writes(&text).as_bytes()).to_string())
    }

    /// What is ambiguous: more than one ConfigMap with defaults of the namespace.
    pub fn warning(&self) -> Option<String> {
        let names: Vec<&str> = self.namespace.keys().map(String::as_str).collect();
        let (first, others) = names.split_first()?;
        (!others.is_empty()).then(|| {
            format!(
                "the namespace has {} or more ConfigMaps with the label kagenti.io/defaults=true, of which {first} counts; \
                 take the label off {}",
                names.len(),
                others.join(", ")
            )
        })
    }
}

/// JSON text with the characters escaped that Go escapes besides. All of them occur within strings alone.
fn as_go_writes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing into a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_hash_is_that_of_the_json_that_go_writes() {
        // printf '{}' | sha256sum
        let none = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(ConfigSources::default().hash().unwrap(), none);
        let sources = ConfigSources {
            feature_gates: data(&[("feature-gates.yaml", "injectTools: true\n")]),
            platform: data(&[("config.yaml", "a <b> & c"), ("other", "kept")]),
            namespace: BTreeMap::from([
                ("a".to_owned(), data(&[("config.yaml", "tab\tand\u{2028}")])),
                ("b".to_owned(), data(&[("config.yaml", "does not count")])),
            ]),
            runtime: "mode: proxy-sidecar".to_owned(),
        };
        // sha256sum of {"featureGates":{"feature-gates.yaml":"injectTools: true\n"},"defaults":{"config.yaml":
        // "tab\tand\u2028","other":"kept"},"authBridgeRuntime":"mode: proxy-sidecar"}, on one line.
        let expected = "32bd6b55ec8372acd1b384e85803ea7444cd3f74ce4455afaeae0322b062e8d4";
        assert_eq!(sources.hash().unwrap(), expected);
        assert!(sources.warning().unwrap().contains("of which a counts"));
        assert_eq!(as_go_writes(r#""<a>&b""#), r#""\u003ca\u003e\u0026b""#);
    }
}
