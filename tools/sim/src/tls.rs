//! A certificate of our own, and the server's side of TLS.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::error::SimError;

/// The acceptor, and the certificate as PEM. It signs itself: a client trusts it as its root.
pub(crate) fn make(config: &TlsConfig) -> Result<(TlsAcceptor, String), SimError> {
    let failed = |error: &dyn std::fmt::Display| SimError::Tls(error.to_string());
    let made =
        rcgen::generate_simple_self_signed(config.names.clone()).map_err(|error| failed(&error))?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(SimError::tls)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|error| failed(&error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let pem = made.cert.pem();
    if let Some(path) = &config.cert_file {
        std::fs::write(path, &pem)
            .map_err(|source| SimError::File { path: path.clone(), source })?;
    }
    Ok((TlsAcceptor::from(Arc::new(server)), pem))
}

impl SimError {
    fn tls(reason: &str) -> Self {
        Self::Tls(reason.to_owned())
    }
}
