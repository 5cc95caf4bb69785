//! Whom we believe: the roots of webpki-roots, and the user's own certificate file beside them.
//!
//! One way in and no way around: there is no switch that accepts a bad certificate, and no
//! fallback to plain text.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("BLOFIN_CA_FILE {path} cannot be read: {source}; give a PEM file or leave it empty")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("BLOFIN_CA_FILE {path} holds no usable certificate: {text}; give a PEM file or leave it empty")]
    Unusable { path: PathBuf, text: String },
    #[error("the TLS library refused its own defaults: {0}")]
    Library(#[from] rustls::Error),
}

/// Client settings with the ring provider and, when given, the certificates of `ca_file`.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Both the websocket upgrade and the order connections are HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsFault> {
    let pem = std::fs::read(path).map_err(|source| TlsFault::Unreadable {
        path: path.to_path_buf(),
        source,
    })?;
    let unusable = |text: String| TlsFault::Unusable {
        path: path.to_path_buf(),
        text,
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|fault| unusable(fault.to_string()))?;
        roots
            .add(certificate)
            .map_err(|fault| unusable(fault.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(unusable("it has no CERTIFICATE section".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_roots_are_enough() {
        assert!(client_config(None).is_ok());
    }

    #[test]
    fn a_bad_certificate_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let text = client_config(Some(&path)).expect_err("absent").to_string();
        assert!(
            text.contains("BLOFIN_CA_FILE") && text.contains("ca.pem"),
            "{text}"
        );
        std::fs::write(&path, "not a certificate").expect("written");
        let text = client_config(Some(&path)).expect_err("empty").to_string();
        assert!(text.contains("no CERTIFICATE section"), "{text}");
    }

    #[test]
    fn an_own_certificate_is_added() {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, own.cert.pem()).expect("written");
        assert!(client_config(Some(&path)).is_ok());
    }
}
