//! Version of the API server, as far as sidecars depend on it.

/// First minor version of Kubernetes 1 whose init containers may go on running.
const NATIVE_SIDECARS: u32 = 29;

/// Minor version of Kubernetes 1 in the API server's answer, such as `29` or `29+`; `None` for what is no such number.
pub fn minor_version(major: &str, minor: &str) -> Option<u32> {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    if major == "1" { digits.parse().ok() } else { None }
}

/// True if the API server lets init containers go on running. A major version after 1 does.
pub fn has_native_sidecars(major: &str, minor: &str) -> bool {
    major != "1" || minor_version(major, minor).is_some_and(|minor| minor >= NATIVE_SIDECARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_what_distributions_add_to_it() {
        for (major, minor, number, native) in [
            ("1", "28", Some(28), false),
            ("1", "29", Some(29), true),
            ("1", "29+", Some(29), true),
            ("1", "35-eks", Some(35), true),
            ("1", "", None, false),
            ("2", "0", None, true),
        ] {
            assert_eq!(minor_version(major, minor), number, "{major}.{minor}");
            assert_eq!(has_native_sidecars(major, minor), native, "{major}.{minor}");
        }
    }
}
