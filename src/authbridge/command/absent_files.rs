//! Files that a configuration names and that cannot be read now. Each may appear while the sidecar runs, so none is an error.

use crate::auth::read_line;
use crate::config::{Config, PluginSettings};
use crate::identity::read_material;
use std::path::Path;

/// A line for every file that cannot be read: its key, what is wrong, and what that means until it can be.
pub(super) fn absent_files(config: &Config) -> Vec<String> {
    let mut absent = Vec::new();
    let mut look = |key: &str, path: Option<&str>, meanwhile: &str| {
        if let Some(problem) = path.and_then(|path| read_line(Path::new(path)).err()) {
            absent.push(format!("{key}: {problem}; until then {meanwhile}"));
        }
    };
    look("admin.token_file", config.admin.token_file.as_deref(), "statistics and sessions answer with 401");
    let pipelines = [&config.pipeline.inbound, &config.pipeline.outbound];
    for plugin in pipelines.into_iter().flat_map(|pipeline| &pipeline.plugins) {
        match &plugin.settings {
            PluginSettings::JwtValidation(jwt) => {
                let is_only = jwt.audience.is_none() && jwt.allowed_audiences.is_empty();
                let meanwhile = if is_only {
                    "no token is accepted, and the sidecar is not ready"
                } else {
                    "the audience in it does not count"
                };
                look("jwt-validation.audience_file", jwt.audience_path(), meanwhile);
            }
            PluginSettings::TokenExchange(exchange) => {
                let identity = &exchange.identity;
                let meanwhile = "no token is exchanged";
                look("token-exchange.identity.client_id_file", identity.client_id_path(), meanwhile);
                look("token-exchange.identity.client_secret_file", identity.client_secret_path(), meanwhile);
            }
            PluginSettings::A2aParser(_)
            | PluginSettings::McpParser(_)
            | PluginSettings::InferenceParser(_) => {}
        }
    }
    let folder = config.spiffe.as_ref().and_then(|spiffe| spiffe.files_dir.as_deref());
    if let Some(problem) = folder.and_then(|folder| read_material(Path::new(folder)).err()) {
        absent.push(format!("spiffe.files_dir: {problem}; until then there is no identity"));
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Reading, parse_config};

    #[test]
    fn every_file_that_is_absent_is_told_with_what_it_is_for() {
        let text = "mode: proxy-sidecar\n\
                    listener: {reverse_proxy_backend: 'http://127.0.0.1:1'}\n\
                    admin: {token_file: /nowhere/token}\n\
                    spiffe: {files_dir: /nowhere/svid}\n\
                    pipeline:\n  inbound: {plugins: [{name: jwt-validation, config: {issuer: 'https://i'}}]}\n  \
                    outbound: {plugins: [{name: token-exchange, config: {token_url: 'https://i/t', identity: \
                    {type: client-secret, client_secret_file: /nowhere/secret}}}]}\n";
        let told = |text: &str| absent_files(&parse_config(text, &|_| None, Reading::Strict).unwrap().config);
        let all = told(text);
        let expected = [
            ("admin.token_file: ", "/nowhere/token", "answer with 401"),
            ("jwt-validation.audience_file: ", "/shared/client-id.txt", "no token is accepted"),
            ("token-exchange.identity.client_id_file: ", "/shared/client-id.txt", "no token is exchanged"),
            ("token-exchange.identity.client_secret_file: ", "/nowhere/secret", "no token is exchanged"),
            ("spiffe.files_dir: ", "/nowhere/svid/svid.pem", "there is no identity"),
        ];
        assert_eq!(all.len(), expected.len(), "{all:#?}");
        for (line, (key, path, meanwhile)) in all.iter().zip(expected) {
            assert!(line.starts_with(key) && line.contains(path) && line.contains(meanwhile), "{line}");
        }
        let named = text.replace("issuer: 'https://i'", "issuer: 'https://i', audience: a");
        assert_eq!(told(&named).len(), expected.len() - 1, "a file that nobody needs is not told of");
    }
}
