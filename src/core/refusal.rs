//! Refusals and their reasons: one closed, ordered list that the command line, conditions, events, metrics and
//! documentation share (ADR 0009).

use super::limits::MESSAGE_CHARS;
use super::text::is_unsafe_for_display;
use std::fmt;

/// A stable reason and one sentence about what was checked and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    message: String,
}

impl Refusal {
    /// Makes a refusal for `reason`; `message` says what was checked and found.
    ///
    /// The message is cut at 700 characters, and characters that could forge output are replaced. Quote untrusted text
    /// with [`super::text::Quoted`] as well, so that a reader sees where the text begins and ends.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        let mut bounded = String::with_capacity(message.as_ref().len().min(MESSAGE_CHARS));
        for (index, c) in message.as_ref().chars().enumerate() {
            if index == MESSAGE_CHARS {
                bounded.push('…');
                break;
            }
            bounded.push(if is_unsafe_for_display(c) { '\u{fffd}' } else { c });
        }
        Self { reason, message: bounded }
    }

    /// The reason, stable across releases.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// One sentence for people about what was checked and found; safe to print.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.message)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Declares each reason once: variant, rules, title, attack, fix.
macro_rules! reasons {
    ($($(#[$stage:meta])* $name:ident [$($rule:literal),*] $title:literal; $attack:literal; $fix:literal;)+) => {
        /// A reason for a refusal, ordered from the start of the pipeline to its end: a later reason is more
        /// specific, because every earlier check had passed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $title] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the pipeline.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code in status, events, metrics and JSON; stable across releases.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The problem in one line, without a full stop.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// The attack that becomes possible if such a card is accepted.
            pub const fn attack(self) -> &'static str {
                match self { $(Self::$name => $attack,)+ }
            }

            /// The remedy, as one or more imperative sentences.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)+ }
            }

            /// The numbers of the rules in `docs/rules.md` that the reason enforces.
            pub const fn rules(self) -> &'static [u8] {
                match self { $(Self::$name => &[$($rule),*],)+ }
            }

            /// The reason whose code is exactly `code`; case matters.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }
        }
    };
}

reasons! {
    // The configuration that every check stands on.
    BundleMalformed [5, 43] "The trust bundle is not a readable SPIFFE bundle";
        "An anchor taken from a document that two parsers read differently.";
        "Export the bundle again, for example with `spire-server bundle show -format spiffe`.";
    BundleRollback [45] "The trust bundle is older than one already accepted";
        "A replayed bundle brings back an authority that was revoked.";
        "Publish the current bundle; if the sequence was reset on purpose, restart the operator, which forgets the \
         last one.";
    BundleStale [45] "The trust bundle has not been refreshed for too long";
        "Freezing the bundle hides a revocation.";
        "Restore the bundle source; the last good bundle counts only for its limit.";
    BundleEmpty [44] "The trust bundle holds no usable X.509 authority";
        "Falling back to a cached copy would ignore that the domain revoked its keys.";
        "If its authorities are of another trust domain, give the bundle of this one, or set the trust domain to theirs: \
         `--trust-domain` on the command line, `--spire-trust-domain` of the operator. If the domain was not revoked on \
         purpose, publish at least one valid CA certificate in its bundle.";
    TrustDomainUnknown [42] "No bundle is configured for the trust domain";
        "Anchors of one domain vouching for the names of another.";
        "Configure a bundle for exactly this trust domain: `--bundle TD=FILE` on the command line; for the operator the \
         source that `--trust-bundle-source` names, and for a domain beside its own a ClusterFederatedTrustDomain, or with \
         `--trust-bundle-source=workload-api` `federatesWith` in the operator's own registration entry.";

    // Finding the workload.
    WorkloadNotFound [] "The workload behind the card does not exist";
        "The last verdict about a workload outliving it.";
        "Correct spec.targetRef, or create the workload: a Deployment, StatefulSet or Sandbox in the card's namespace.";
    NotAgentWorkload [] "The workload behind the card is not labelled as an agent";
        "Any workload made an agent by whoever may write an AgentCard.";
        "Label the workload itself, not its Pod template alone, kagenti.io/type=agent, or rossoctl.io/type=agent if it has \
         the other labels of that name.";
    LabelsConflict [] "The workload carries labels of both names of the existing project, and they disagree";
        "A workload that one tool takes for a verified agent and another for something else.";
        "Give both labels the same value, or remove one of them, on the workload and in its Pod template.";
    LabelsTooMany [] "The workload, its Pod template or its selector has more labels than are read";
        "A tenant's labels taking the memory of everybody's operator.";
        "Remove labels until no more are left than the message names; put other data into annotations.";
    WorkloadNotReady [] "The workload behind the card is not ready";
        "Something else answering while the agent does not.";
        "Find out why its Pods are not ready; the card is read as soon as they are.";
    ProtocolMissing [] "The workload names no protocol whose cards can be read";
        "Reading another kind of document as a card.";
        "Label the workload protocol.kagenti.io/a2a, or protocol.rossoctl.io/a2a if rossoctl.io/type enrols it.";
    ServiceEndpointNotOwned [] "Somebody else stands behind the Service of the workload";
        "A Pod with copied labels, or an address written into a slice of endpoints, gets the traffic that is meant for \
         a verified agent.";
        "Remove that Pod or address, or give it other labels than the Service selects; Pods of one Service belong to \
         one workload and run as its service account.";
    ServiceNotFound [] "No Service leads to the workload and to nothing else";
        "A Service that sends the reader of a card elsewhere.";
        "Create a Service of the workload's name that selects its Pods by labels of its template.";
    CardPaused [] "The AgentCard is paused and nothing proves it any more";
        "Pausing a card to keep trust that it would lose.";
        "Remove spec.paused, so that the card is read again.";

    // Fetching the card.
    FetchFailed [2] "The card could not be fetched";
        "Treating an unreachable agent as the last card it served.";
        "Check that the agent serves /.well-known/agent-card.json at this address.";
    FetchTimeout [2] "The agent did not answer in time";
        "A slow agent holding up the verification of all others.";
        "Find out why the agent is slow; the limits cover connecting and the whole answer.";
    FetchRedirected [2] "The agent answered with a redirect";
        "A redirect makes the verifier read a card, or an internal address, of the sender's choice.";
        "Serve the card at its well-known address, or give the final address.";
    FetchStatus [2] "The agent answered with an error status";
        "Reading an error page as a card.";
        "Make the agent answer 200 at its well-known address.";
    FetchEncoding [2] "The answer is compressed or of another content type";
        "Decompression bombs, and documents of another kind read as cards.";
        "Serve the card as application/json, without content encoding.";
    BodyTooLarge [1] "The document is larger than the limit";
        "Exhausting memory, or hiding content behind the point where another reader truncates.";
        "Make the card smaller; the limit is never met by truncating.";

    // Strict JSON.
    JsonEncoding [3] "The document is not UTF-8 without a byte order mark";
        "Two readers that repair broken text differently.";
        "Encode the document as UTF-8 without a byte order mark.";
    JsonSyntax [3] "The document is not JSON";
        "A lenient reader accepting what a strict one refuses.";
        "Correct the syntax at the place named; only RFC 8259 JSON is read.";
    JsonTrailing [3] "Something follows the JSON value";
        "A second document smuggled behind the signed one.";
        "Send exactly one JSON value.";
    JsonDepth [4] "The document is nested too deeply";
        "Exhausting the stack of this or of another reader.";
        "Flatten the value, most often the `params` of an extension.";
    JsonNodes [4] "The document has too many values";
        "Exhausting memory and time with a small body.";
        "Make the card smaller.";
    JsonMembers [4] "An object has too many members";
        "Exhausting time with sorting and duplicate search.";
        "Split the object.";
    JsonKeyLength [4] "A member name is too long";
        "Exhausting memory and time.";
        "Use shorter names.";
    JsonStringLength [4] "A string or number is too long";
        "Exhausting memory and time.";
        "Shorten the value.";
    JsonDuplicateMember [5] "A member name occurs twice in one object";
        "One reader keeps the first value and another the last, so that what was verified is not what is used.";
        "Remove the second member.";
    JsonSurrogate [7] "A string contains half of a surrogate pair";
        "Readers replace or keep it differently: two texts, one signature.";
        "Write the character as a whole pair or as UTF-8.";
    JsonNul [7] "A string contains the character NUL";
        "Text cut short where a C string ends.";
        "Remove the character.";
    JsonNumber [8] "A number cannot be kept exactly";
        "The value that one reader sees is not the value that was signed.";
        "Use integers within ±(2^53−1), or a string. To read numbers as the SDKs do, set `numbers: binary64` in the policy \
         file, or give `verify`, `explain` or `plan` the flag `--numbers binary64`; `sign` reads strictly.";

    // The card as a document.
    CardNotObject [3] "The document is not a JSON object";
        "Another kind of document read as a card.";
        "Send an A2A AgentCard.";
    CardMemberType [24] "A member has another JSON type than the card's schema gives it";
        "A value that one reader converts and another one refuses.";
        "Use the types of the A2A specification.";
    CardMemberAlias [6] "A member is another spelling of a known one";
        "Readers that ignore case, or accept snake_case, take the value from the wrong member.";
        "Use the spelling of the A2A specification, once.";
    CardUnsafeText [10] "An address or identifier contains control, bidirectional or invisible characters";
        "A name that looks like another one.";
        "Remove the characters.";
    CardUnsigned [11, 55] "The card has no signature";
        "Stripping the signature from a card.";
        "Sign the card, for example with `countersign sign`.";
    SignaturesMalformed [11] "The member `signatures` is not a list of JWS signatures";
        "Nested or oversized lists that other readers skip.";
        "Use one to four objects with `protected`, `signature` and, if needed, `header`.";

    // Signing.
    CardNotSignable [47] "The card cannot be written in A2A 1.0 members without loss";
        "A card that says less, or something else, after its conversion.";
        "Rewrite the named member in A2A 1.0 or take it out, or sign the card without `--upgrade`.";
    SigningKeyUnusable [14] "The private key cannot sign for this chain";
        "A signature that nobody can verify.";
        "Give the PKCS#8 key (P-256, P-384 or RSA) of the first certificate of the chain.";

    // The JWS header.
    Base64Malformed [12] "A base64url text is not in its only strict form";
        "Different texts that decode to the same bytes evade caches and deny lists.";
        "Use base64url without padding, white space or spare bits.";
    HeaderTooLarge [12, 28] "A signature header is larger than the limit";
        "Exhausting memory and time.";
        "Send fewer certificates and parameters.";
    HeaderMalformed [12] "The protected header is not a JSON object";
        "A header that two readers see differently.";
        "Create the signature again with a JWS library.";
    HeaderCritical [20] "The header uses `crit`";
        "An extension that changes the meaning of the signature and that we do not understand.";
        "Sign without `crit`.";
    HeaderUnencodedPayload [21] "The header uses `b64`";
        "The payload read in another encoding than it was signed in.";
        "Sign without `b64`.";
    HeaderUnprotected [22] "The unprotected header carries parameters that belong to the protected one";
        "Replacing the algorithm or the key of a signature without breaking it.";
        "Move the parameters into the protected header.";
    HeaderType [23] "The header names another type of document";
        "A token made for another protocol presented as a card signature.";
        "Sign with `typ` absent, `JOSE`, `JOSE+JSON` or `JWT`.";
    AlgorithmMissing [13] "The protected header names no algorithm";
        "Choosing the algorithm for the sender.";
        "Sign with `alg` in the protected header.";
    AlgorithmNotAllowed [13] "The algorithm is not on the allow-list";
        "No signature at all (`none`), or a public key used as a shared secret (`HS256`).";
        "Sign with ES256, ES384, RS256 or PS256, or allow the algorithm for this trust domain.";
    KeyIdMalformed [25] "The key ID is absent or not a short visible text";
        "Injecting log lines through `kid`, or two key IDs that look alike.";
        "Sign with a `kid` of 1 to 256 visible characters.";
    KeyInHeader [26] "The header brings its own key";
        "The signer choosing the key that verifies the signature.";
        "Sign with an `x5c` chain that ends in the trust bundle.";
    ThumbprintMismatch [26] "The certificate thumbprint in the header is not the leaf's";
        "Two readers picking two keys from one header.";
        "Sign again, or leave `x5t#S256` out.";
    KeySourceMissing [27] "The signature names no key that can be trusted";
        "Falling back to a key found elsewhere.";
        "Sign with an `x5c` chain, or pin the key for this trust domain.";
    KeySourceAmbiguous [27] "The signature names two keys";
        "Two readers verifying with two keys.";
        "Use either an `x5c` chain or a pinned key.";

    // The certificate chain.
    ChainEncoding [29] "The chain is not a list of standard base64 certificates";
        "Two readers decoding two chains.";
        "Put one to five base64 (not base64url) DER certificates into `x5c`, leaf first.";
    ChainTooLarge [29] "The chain has too many or too large certificates";
        "Exhausting the certificate parser.";
        "Send the leaf and its intermediates only.";
    CertificateMalformed [30] "A certificate is not strict X.509 version 3";
        "Content that one parser sees and another does not.";
        "Issue the certificate again with a conforming CA.";
    CertificateCriticalExtension [30] "A certificate has a critical extension that is not understood";
        "Ignoring a restriction that the CA set.";
        "Issue the certificate without it.";
    ChainOrder [31] "A certificate was not issued by the next one in the chain";
        "Searching for a path that the sender did not present.";
        "Order the chain leaf first, each certificate followed by its issuer.";
    ChainExtraCertificate [31] "The chain contains a certificate that does not belong to it";
        "Unrelated or repeated certificates, or a foreign root, riding along.";
        "Send the leaf and its intermediates only.";
    LeafIsCa [33] "The signing certificate is a CA";
        "A certificate authority signing cards as if it were a workload.";
        "Sign with the workload's own SVID.";
    LeafKeyUsage [33] "The signing certificate may not make digital signatures";
        "A certificate for another purpose signing cards.";
        "Sign with an X509-SVID; its key usage is critical and contains digitalSignature alone.";
    LeafExtendedKeyUsage [34] "The signing certificate is for a special purpose";
        "A special-purpose certificate of the same CA signing cards.";
        "Sign with an X509-SVID; if it has an extended key usage, serverAuth and clientAuth are in it.";
    LeafSan [35] "The signing certificate does not carry exactly one URI name";
        "Two identities in one certificate, each read by somebody.";
        "Sign with an X509-SVID.";
    SpiffeIdMalformed [35, 41] "The name is not a valid SPIFFE ID of a workload";
        "Look-alike identities and prefix tricks.";
        "Register the workload under a SPIFFE ID in its exact, lower-case form with a path.";
    IssuerNotCa [36] "An issuing certificate is not a CA";
        "A workload's certificate issuing others.";
        "Send the CA certificates that issued the leaf.";
    IssuerKeyUsage [36] "An issuing certificate may not sign certificates";
        "A certificate for another purpose issuing SVIDs.";
        "Use a CA certificate with keyCertSign.";
    IssuerExtendedKeyUsage [36] "An issuing certificate is for other purposes than an SVID's";
        "A CA for code signing or email issuing SVIDs.";
        "Use a CA whose extended key usage, if it has one, holds serverAuth and clientAuth, or anyExtendedKeyUsage.";
    IssuerPathLength [36] "The chain is longer than an issuer allows";
        "A subordinate creating more subordinates than it was given.";
        "Send the chain that the CA issued, or raise its path length.";
    IssuerSpiffeId [36] "An issuing certificate carries another SPIFFE ID than its trust domain's";
        "A workload or a foreign domain acting as CA.";
        "Use a CA whose SPIFFE ID, if it has one, is the trust domain alone.";
    NameConstraints [37] "A certificate carries a name that the name constraints of a CA above it do not allow";
        "A constrained CA issuing names outside its constraint.";
        "Issue names that the constraints allow; permit the trust domain as a URI host if they permit any URI; below constraints on other names than URI and DNS ones, issue no such name.";
    ChainAlgorithm [15, 39] "A certificate uses a weak or unsupported algorithm or key";
        "Forged certificates by collision, or keys that cost the verifier.";
        "Issue with RSA of 2048 to 4096 bits, P-256 or P-384, and SHA-2.";
    TrustDomainMismatch [42] "The signer belongs to another trust domain";
        "A neighbouring or federated domain naming our workloads.";
        "If you trust that domain, verify with it: on the command line `--trust-domain TD` with `--bundle TD=FILE`. \
         If an AgentCard names another one than the operator's, take spec.identityBinding.trustDomain off, or start the \
         operator with `--allow-trust-domain=NAMESPACE:TRUST_DOMAIN`.";
    AnchorUnknown [42] "The chain does not end in the bundle of its trust domain";
        "Any CA at all vouching for the workload.";
        "Check that the bundle is current and that the SVID was issued by this trust domain.";
    ChainSignature [31, 42] "A signature within the chain does not verify";
        "A forged certificate.";
        "Sign with an SVID issued by this trust domain.";
    CertificateNotYetValid [38] "A certificate is not valid yet";
        "Keys used before their time.";
        "Check the clocks of signer and verifier.";
    CertificateExpired [38] "A certificate has expired";
        "An SVID key stolen long ago signing today.";
        "Sign the card again with a current SVID; `countersign sign` in a sidecar does so at half life.";
    AnchorNotValid [38] "The authority in the bundle is expired or not valid yet";
        "Retired roots that still lie in the bundle.";
        "Rotate to a current authority.";
    SvidLifetime [38] "The SVID lives longer than the policy allows";
        "A stolen key that stays useful for months.";
        "Issue shorter SVIDs, or raise the limit: `maxSvidLifetime` in the policy file, or `--max-svid-lifetime` of the \
         command line where no policy file is given.";
    Denied [58] "The identity, key or card is on the deny-list";
        "A compromised key inside its lifetime.";
        "Issue a new identity and key, or remove the entry.";

    // The signature.
    AlgorithmKeyMismatch [14] "The algorithm does not belong to the signer's key";
        "Confusing keys of one kind with signatures of another.";
        "Sign with the algorithm of the SVID's key: ES256 for P-256, ES384 for P-384, RS256 or PS256 for RSA.";
    KeyIdMismatch [25] "The key ID is not the leaf's fingerprint";
        "A log that names another key than the one used.";
        "Sign again; the 16-digit form of `kid` is the start of the leaf's SHA-256.";
    SignatureTimes [56] "The signature's own times do not allow its use now";
        "A card that lives longer than its signer meant.";
        "Sign the card again, or for longer with `countersign sign --lifetime`.";
    WorkBudget [40, 49] "Verifying the card would cost more than its budget";
        "Many expensive signatures occupying the verifier.";
        "Use fewer signatures, P-256 keys and shorter chains.";
    SignatureMalformed [17, 19] "The signature does not have the only form its algorithm allows";
        "A second encoding of the same signature.";
        "Sign with raw r‖s (64 bytes for ES256), not DER.";
    SignatureInvalid [9, 16, 32, 49] "The signature does not verify over any allowed canonical form of the card";
        "A card changed after it was signed.";
        "Sign the card as it is served; if it was signed by an older SDK, allow its profile for this trust domain.";
    PayloadNotCard [24] "What was signed is not an AgentCard";
        "A token made with the same key presented as a card.";
        "Sign an AgentCard: an object with `name` and at least one of `supportedInterfaces`, `url`, `capabilities`, `skills`.";
    SignerPolicy [54] "Not enough signatures satisfy the policy";
        "One stolen key where several signers were asked for.";
        "Collect the signatures that the policy asks for.";
    UncoveredSecurityMember [47, 48, 61, 62, 63, 64] "The signature does not cover a member that decides about security";
        "Injecting an endpoint or removing an authentication requirement.";
        "Sign the card in the form it is served in (`countersign sign`), or inspect with `--coverage report`.";

    // The binding to the workload.
    IdentityMismatch [50] "The signer is not the workload that serves the card";
        "One workload signing, and receiving the trust of, another one's card.";
        "Sign with the SVID of the workload's own service account.";
    SourceNotOwned [52] "The card's source does not belong to the workload";
        "A planted ConfigMap speaking for somebody else's agent.";
        "Let the workload own the object that carries its card.";
    PeerIdentityMismatch [53] "The server that delivered the card is not its signer";
        "Relaying another workload's card over one's own connection.";
        "Serve the card from the workload that signed it.";
    OriginNotOwned [51] "The card was fetched from an address that is not the workload's";
        "A card accepted from wherever it was found.";
        "Fetch from the workload's Service.";
    EndpointMalformed [51] "An endpoint is not a plain absolute http(s) URL";
        "User names, IP literals and odd encodings that lead elsewhere than they look.";
        "Use absolute URLs with a DNS name.";
    EndpointNotOwned [51] "An endpoint does not belong to the workload";
        "A valid card that sends its callers to an attacker.";
        "List only the workload's own Service names and declared ingress hosts.";
    EndpointNotEncrypted [51] "An endpoint outside the cluster does not use https";
        "Callers sending tokens in the clear.";
        "Use https for every host outside the cluster.";
    ReplayOlderCard [55] "The card has other content than the workload serves, and was signed before it";
        "Replaying an old card to bring back an endpoint or to undo a change.";
        "Sign the card again, which makes it the newest; or delete what is remembered of the workload.";
    ReplayWeaker [55] "The signature may say less about the card than those before";
        "Taking the signature over the whole card away, and serving another card with the one that is left.";
        "Sign as before: with a signature whose header names `jcs-raw` if there was one, and otherwise again, with `iat` or a newer SVID; or delete what is remembered of the workload.";
    WitnessMissing [57] "The SVID has expired and nobody saw this card while it was valid";
        "Calling every expired card fine.";
        "Sign the card again; `witnessed` accepts only cards verified before their leaf expired.";
    WitnessTooOld [57] "The card was last provably fresh too long ago";
        "A card that is never signed again.";
        "Sign the card again.";

    // Requests and their access tokens, which the sidecar judges.
    PathAmbiguous [] "The path of the request can be read in several ways";
        "A path that looks public to the sidecar and private to the agent.";
        "Send the path in its shortest form: no dot segments, no backslash, no escapes that need none.";
    KeySetMalformed [] "The issuer's key set is not usable";
        "A key taken from a document that two parsers read differently.";
        "Check that the address is the issuer's JWKS and that it publishes a public signature key.";
    TokenResponseMalformed [] "The token endpoint did not answer with an access token";
        "A token that is sent as something else than it is.";
        "Check that the address is a token endpoint and that it issues bearer tokens.";
    TokenMalformed [] "The token is not a JSON Web Token in compact form";
        "A token that two parsers read differently.";
        "Send the access token as the issuer made it: three base64url parts with dots between.";
    TokenKind [] "The token is not an access token";
        "An ID or refresh token, made for another purpose, opening an API.";
        "Send the access token, not the ID or refresh token.";
    TokenKeyUnknown [] "No key of the issuer belongs to the token";
        "A token signed by a key that the issuer does not have, or no longer has.";
        "Get a new token; if the issuer has just changed its keys, try again in some seconds.";
    TokenIssuer [] "The token comes from another issuer";
        "A realm for guests giving access meant for staff.";
        "Get the token from the configured issuer, or correct `issuer`, which must equal `iss` exactly.";
    TokenAudience [] "The token was made for somebody else";
        "A service replaying the tokens that it received.";
        "Ask the issuer for a token with this agent's client ID as audience.";
    TokenExpired [] "The token has expired or never expires";
        "A token stolen long ago.";
        "Get a new token; check the clocks if it is new.";
    TokenNotYetValid [] "The token is not valid yet";
        "A token used before its time.";
        "Check the clocks of the issuer and of this machine.";
    TokenBinding [] "The token is bound to a key or client that is not the caller";
        "A stolen token used by somebody else.";
        "Call with the key or the SVID for which the token was made.";
    TokenParty [] "The client for which the token was made is not admitted";
        "Any client of the realm calling any agent.";
        "Add the client ID to `allowed_clients`, or call with an admitted client.";
    TokenScope [] "The token lacks a scope";
        "A token for reading used for writing.";
        "Ask the issuer for the scopes in `required_scopes`.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_again() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
        assert_eq!(Reason::from_code("signatureinvalid"), None);
    }

    #[test]
    fn a_message_is_bounded_and_cannot_break_lines() {
        let refusal = Refusal::new(Reason::JsonSyntax, format!("found\n{}", "x".repeat(10_000)));
        assert!(refusal.message().chars().count() <= MESSAGE_CHARS + 1);
        assert!(!refusal.to_string().contains('\n'));
    }
}
