//! Keys and ciphers: ECDH P-256 → HKDF-SHA256 → AES-256-GCM. Source: PROTOCOL.md §5.

mod exchange;
#[cfg(feature = "fernet")]
mod fernet;
mod keyring;
mod replay;
mod seal;
mod secret;
mod sign;
mod signing;
#[cfg(test)]
mod standards;
pub mod tokens;

pub use exchange::{Dialect, KeyPair, hkdf_sha256};
#[cfg(feature = "fernet")]
pub use fernet::Fernet;
pub use keyring::{Keyring, Request, RotateError};
pub use replay::ReplayWindow;
pub use seal::{Opener, Role, Sealer, channel};
pub use secret::Secret;
pub use sign::{SignatureForm, canonical_json, sign, sign_envelope, verify, verify_envelope};
pub use signing::{Signing, SigningConfig, SigningForm, Subject, Verification};
