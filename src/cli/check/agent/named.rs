//! Workload as the command line names it.

/// Kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Kind {
    Deployment,
    StatefulSet,
}

impl Kind {
    /// The kind in manifests.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

/// Name of a workload, with its kind if that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Named {
    pub(in crate::check) kind: Option<Kind>,
    pub(in crate::check) name: String,
}

impl Named {
    /// Parses `NAME` or `KIND/NAME`, with the short forms of kubectl.
    pub(in crate::check) fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => (Some(parse_kind(kind)?), name),
        };
        let is_inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(is_inner) {
            return Err("write the name of a workload: 1 to 253 of a-z 0-9 - .".to_owned());
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    match text.to_ascii_lowercase().as_str() {
        "deployment" | "deployments" | "deploy" | "deployment.apps" => Ok(Kind::Deployment),
        "statefulset" | "statefulsets" | "sts" | "statefulset.apps" => Ok(Kind::StatefulSet),
        _ => Err("the kinds are deployment and statefulset".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_as_for_kubectl() {
        for (text, kind, name) in [
            ("weather", None, "weather"),
            ("deploy/weather", Some(Kind::Deployment), "weather"),
            ("Deployment/weather", Some(Kind::Deployment), "weather"),
            ("sts/a.b-1", Some(Kind::StatefulSet), "a.b-1"),
        ] {
            assert_eq!(Named::parse(text), Ok(Named { kind, name: name.to_owned() }), "{text}");
        }
        for text in ["", "pod/weather", "deploy/", "Weather", "a/b/c", "deploy/a/b", "a b", "../x"] {
            assert!(Named::parse(text).is_err(), "{text}");
        }
    }
}
