//! The server's certificate, read again when its files change.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Config,
    sync::{lock, read, write},
};

/// Why a certificate cannot be used. Nothing of the key is in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .file.display())]
pub struct CertificateError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// Speaks TLS with the certificate of the day.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// A certificate and where it comes from.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files looked like when they were read.
    seen: Mutex<Stamp>,
}

/// When both files were changed last, as far as that is known.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl Tls {
    /// Reads the certificate; `None` when the settings name none.
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, CertificateError> {
        let (Some(chain), Some(key)) = (&config.tls_certificate, &config.tls_key) else { return Ok(None) };
        let seen = stamp(chain, key);
        let certificate = Arc::new(Certificate {
            current: RwLock::new(Arc::new(certified(chain, key)?)),
            chain: chain.clone(),
            key: key.clone(),
            seen: Mutex::new(seen),
        });
        // The provider is named on purpose: a process may hold several, and none needs to be its default.
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(chain, &error))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate }))
    }

    pub(super) const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Whether the files changed since they were read. Looks at the disk.
    pub(crate) fn has_changed(&self) -> bool {
        let Certificate { chain, key, seen, .. } = &*self.certificate;
        *lock(seen) != stamp(chain, key)
    }

    /// Reads the files again. Connections that are open stay as they are; if the files cannot be used, new ones do too.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        let Certificate { chain, key, seen, current } = &*self.certificate;
        // Noted first, also for files that cannot be used: they are tried again when they change again.
        *lock(seen) = stamp(chain, key);
        let fresh = certified(chain, key)?;
        *write(current) = Arc::new(fresh);
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&read(&self.current)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    (changed(chain), changed(key))
}

fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let read = |path: &Path| std::fs::read(path).map_err(|error: io::Error| refused(path, &error));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(chain)?).collect();
    let certificates = certificates.map_err(|error| refused(chain, &error))?;
    if certificates.is_empty() {
        return Err(refused(chain, &"no CERTIFICATE section found"));
    }
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| refused(key, &"no usable private key found"))?;
    let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider());
    certified.map_err(|error| refused(key, &format!("does not fit {}: {error}", chain.display())))
}

fn refused(file: &Path, problem: &dyn fmt::Display) -> CertificateError {
    CertificateError { file: file.to_owned(), problem: problem.to_string() }
}
