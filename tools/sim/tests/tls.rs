//! The made certificate is trusted as a root, and only it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use cobring_sim::{SimConfig, Source, SyntheticConfig, TlsConfig, start};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(sim: &cobring_sim::SimHandle, pem: Option<&str>) -> Tls {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = pem {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(sim.addr()).unwrap())
}

#[test]
fn websocket_and_rest_work_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let cert_file = dir.path().join("cert.pem");
    let tls = TlsConfig { cert_file: Some(cert_file.clone()), ..TlsConfig::default() };
    let market = SyntheticConfig::new(1, &["ETHUSDT"]);
    let sim =
        start(&SimConfig { tls: Some(tls), ..SimConfig::new(Source::Synthetic(market)) }).unwrap();
    let pem = std::fs::read_to_string(cert_file).unwrap();
    assert_eq!(sim.ca_pem(), Some(pem.as_str()));

    let url = format!("{}/stream?streams=ethusdt@depth@100ms", sim.ws_url());
    assert!(url.starts_with("wss://localhost:"));
    let (mut socket, _) = tungstenite::client(url, connect(&sim, Some(&pem)))
        .map_err(|error| error.to_string())
        .unwrap();
    assert!(
        socket.read().unwrap().to_text().unwrap().starts_with(r#"{"stream":"ethusdt@depth@100ms""#)
    );

    let mut rest = connect(&sim, Some(&pem));
    rest.write_all(b"GET /api/v3/ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    rest.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n{}"),
        "{answer}"
    );

    let refused = connect(&sim, None).write_all(b"x").unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}
