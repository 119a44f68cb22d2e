//! Flags of the admission webhook.

use super::given::Flags;
use super::serving::ServingCertificate;
use super::syntax::FlagError;
use super::values::bind_address;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Admission webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookServer {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Certificate that it serves with.
    pub certificate: WebhookCertificate,
}

/// Certificate of the admission webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCertificate {
    /// Files that somebody else keeps, who also tells the API server whom to trust.
    Files(ServingCertificate),
    /// Secret that the operator keeps.
    Secret {
        /// Service under whose names the API server calls the webhook.
        service: String,
        /// `MutatingWebhookConfiguration` that is told whom to trust; `None` leaves that to somebody else.
        configuration: Option<String>,
    },
}

impl Flags<'_> {
    /// Webhook; `None` serves none. `enabled` is the variable `ENABLE_WEBHOOKS`, of which the existing operator knows
    /// `false` alone.
    pub(super) fn webhook(&self, enabled: Option<&str>) -> Result<Option<WebhookServer>, FlagError> {
        let address = self.read("webhook-bind-address", bind_address)?;
        let folder = PathBuf::from(self.text("webhook-cert-path"));
        let certificate = if folder.as_os_str().is_empty() {
            let configuration = self.text("webhook-configuration");
            WebhookCertificate::Secret {
                service: self.read("webhook-service", dns_label)?,
                configuration: Some(configuration).filter(|name| !name.is_empty()).map(ToOwned::to_owned),
            }
        } else {
            WebhookCertificate::Files(ServingCertificate::Files {
                certificate: folder.join(self.text("webhook-cert-name")),
                key: folder.join(self.text("webhook-cert-key")),
            })
        };
        let address = address.filter(|_| enabled != Some("false"));
        Ok(address.map(|address| WebhookServer { address, certificate }))
    }
}

/// Name of a Service, which becomes a part of DNS names in a certificate.
fn dns_label(text: &str) -> Result<String, String> {
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let is_name = !text.is_empty() && text.len() <= 63 && text.as_bytes().iter().all(is_inner);
    let is_name = is_name && !text.starts_with('-') && !text.ends_with('-');
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("is not the name of a Service: 1 to 63 of a-z 0-9 -".to_owned())
    }
}
