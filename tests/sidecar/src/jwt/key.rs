//! A key that signs tokens: ECDSA and Ed25519 keys are new each time, the RSA key is a fixture.
//! Ring cannot make RSA keys.

use super::base64url;
use anyhow::{Context, Result, anyhow};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

const RSA: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/rsa-2048.key.pem"));

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>, &'static str),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key pair with its `kid` and `alg`.
pub struct SigningKey {
    kid: String,
    algorithm: &'static str,
    pair: Pair,
}

impl SigningKey {
    /// The RSA key of the fixtures, for RS256.
    pub fn rsa(kid: &str) -> Result<Self> {
        Self::rsa_for(kid, "RS256")
    }

    /// The same key for RS256, RS384, RS512, PS256, PS384 or PS512.
    pub fn rsa_for(kid: &str, algorithm: &'static str) -> Result<Self> {
        let encoding: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            _ => return Err(anyhow!("{algorithm} is not an algorithm of RSA")),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(RSA).context("the RSA fixture")?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { kid: kid.to_owned(), algorithm, pair: Pair::Rsa(Box::new(pair), encoding) })
    }

    /// A new key on P-256, for ES256.
    pub fn p256(kid: &str) -> Result<Self> {
        Self::ecdsa(kid, "ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// A new key on P-384, for ES384.
    pub fn p384(kid: &str) -> Result<Self> {
        Self::ecdsa(kid, "ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ecdsa(
        kid: &str,
        algorithm: &'static str,
        curve: &'static str,
        signing: &'static EcdsaSigningAlgorithm,
    ) -> Result<Self> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("ring made no key");
        let der = EcdsaKeyPair::generate_pkcs8(signing, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref(), &random);
        let pair = Box::new(pair.map_err(|error| anyhow!("{error}"))?);
        Ok(Self { kid: kid.to_owned(), algorithm, pair: Pair::Ecdsa(pair, curve) })
    }

    /// A new Ed25519 key, for `EdDSA`.
    pub fn ed25519(kid: &str) -> Result<Self> {
        let der =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow!("ring made no key"))?;
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { kid: kid.to_owned(), algorithm: "EdDSA", pair: Pair::Ed25519(Box::new(pair)) })
    }

    /// Its ID.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A token with the usual header: `alg`, `kid`, and `typ` `JWT`.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        self.sign_with(&json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// A token with this header, which may lie about the key or the algorithm.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> Result<String> {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of these bytes, which need not be JSON.
    pub fn sign_bytes(&self, header: &[u8], payload: &[u8]) -> Result<String> {
        let input = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self.signature(input.as_bytes())?;
        Ok(format!("{input}.{}", base64url(signature)))
    }

    /// The raw signature over `message`, as a token carries it.
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| anyhow!("ring did not sign");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair, _) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// The public key as a JWK with `use` `sig`, `alg` and `kid`.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "n": base64url(public.n), "e": base64url(public.e)})
            }
            Pair::Ecdsa(pair, curve) => {
                // An uncompressed point: the byte 4, then both coordinates.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        jwk["kid"] = json!(self.kid);
        jwk
    }
}
