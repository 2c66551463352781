//! `wss://` with a certificate that only the test knows.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{Behaviour, Server, messages};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use wse_client::{Client, Code};

async fn tls_server() -> (Server, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let tls = Some(TlsAcceptor::from(Arc::new(config)));
    (Server::with(Behaviour { tls, ..Behaviour::default() }).await, cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_certificate_is_trusted_once_it_is_given() {
    let (server, pem) = tls_server().await;
    let mut client = Client::builder(&server.url).root_certificates(pem).topics(["t"]).connect().await.unwrap();
    client.subscribe(&["u"]).await.unwrap();
    client.publish("u", "hello", &"over TLS").await.unwrap();
    assert_eq!(messages(&mut client, 1).await[0].payload().to_json(), "\"over TLS\"");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate_is_refused_and_the_error_says_why() {
    let (server, _) = tls_server().await;
    let error = Client::builder(&server.url)
        .initial_delay(Duration::from_millis(10))
        .connect_timeout(Duration::from_millis(500))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(server.upgrades().is_empty(), "no request went out");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_to_a_tls_port_fails_and_does_not_hang() {
    let (server, _) = tls_server().await;
    let url = server.url.replace("wss://", "ws://");
    let error =
        Client::builder(url).dial_timeout(Duration::from_millis(500)).max_retries(0).connect().await.unwrap_err();
    assert_eq!(error.code(), Code::RetriesExhausted);
}
