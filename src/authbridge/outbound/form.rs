//! Forms of token requests: RFC 8693 §2.1 and RFC 6749 §4.4, with the client authentication in the body.

use super::credentials::ClientAuthentication;
use super::routes::Wanted;
use zeroize::Zeroizing;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Form of one token request: an exchange of `subject`, or the client credentials grant without it. It holds secrets, so
/// it is wiped when dropped.
pub(super) fn token_form(
    subject: Option<&str>,
    wanted: &Wanted,
    client_id: &str,
    authentication: &ClientAuthentication,
) -> Zeroizing<String> {
    let mut form = FormBody::default();
    match subject {
        Some(subject) => {
            form.add("grant_type", EXCHANGE);
            form.add("subject_token", subject);
            form.add("subject_token_type", ACCESS_TOKEN);
            form.add("requested_token_type", ACCESS_TOKEN);
        }
        None => form.add("grant_type", "client_credentials"),
    }
    for (name, value) in [("audience", &wanted.audience), ("resource", &wanted.resource)] {
        if let Some(value) = value {
            form.add(name, value);
        }
    }
    if !wanted.scopes.is_empty() {
        form.add("scope", &wanted.scopes.join(" "));
    }
    form.add("client_id", client_id);
    match authentication {
        ClientAuthentication::Secret(secret) => form.add("client_secret", secret.expose()),
        ClientAuthentication::Assertion { kind, token } => {
            form.add("client_assertion_type", kind);
            form.add("client_assertion", token.expose());
        }
    }
    form.0
}

#[derive(Default)]
struct FormBody(Zeroizing<String>);

impl FormBody {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                    self.0.push(char::from(byte));
                }
                b' ' => self.0.push('+'),
                other => {
                    self.0.push('%');
                    for nibble in [other >> 4, other & 0xf] {
                        self.0.push(
                            char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase(),
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn every_parameter_is_escaped_and_stands_once() {
        let wanted =
            Wanted { audience: Some("ns/a&b".into()), scopes: vec!["r w".into()], ..Wanted::default() };
        let authentication = ClientAuthentication::Secret(Secret::new("p=ä".into()));
        let form = token_form(Some("t.o-k_e"), &wanted, "spiffe://a/b", &authentication);
        assert_eq!(
            form.as_str(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t.o-k_e\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &audience=ns%2Fa%26b&scope=r+w&client_id=spiffe%3A%2F%2Fa%2Fb&client_secret=p%3D%C3%A4"
        );
        let own = token_form(None, &Wanted::default(), "c", &authentication);
        assert_eq!(own.as_str(), "grant_type=client_credentials&client_id=c&client_secret=p%3D%C3%A4");
    }
}
