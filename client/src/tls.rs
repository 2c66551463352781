//! Trust for `wss://`: the Mozilla roots built in, plus what the application adds.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use wse_client_core::config::ConfigError;

/// A TLS configuration that trusts the built-in roots and every certificate in `extra` (PEM files).
///
/// The provider is named on purpose: a process may hold several, and none needs to be its default.
pub(crate) fn client_config(extra: &[Vec<u8>]) -> Result<Arc<ClientConfig>, ConfigError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in extra {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| refuse(&error))?;
            roots.add(certificate).map_err(|error| refuse(&error))?;
            found = true;
        }
        if !found {
            return Err(refuse(&"no CERTIFICATE section found"));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn refuse(why: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::new("root_certificates", format!("must be PEM certificates: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        for junk in ["", "hello", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            let error = client_config(&[junk.into()]).expect_err("junk");
            assert_eq!(error.setting, "root_certificates");
        }
        assert!(client_config(&[]).is_ok());
    }
}
