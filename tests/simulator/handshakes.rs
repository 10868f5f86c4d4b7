//! Certificates and handshakes: B8, B15, B16, B20, B21.

use std::io;

use apnsd::simulator::Settings;
use apnsd::simulator::journal::entry::Event;
use apnsd::simulator::peer::GatewayEnvironment;
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Alert, ConnectFault, ServerCertificate, TlsVersion};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lab::{End, Lab, frame, soon};

/// The error with which a connection fails: in the handshake with TLS 1.2, at the first read with TLS 1.3.
async fn refusal(lab: &Lab, pem: &str, version: &'static SupportedProtocolVersion) -> String {
    match lab.connect_as(pem, &[version]).await {
        Err(error) => error.to_string(),
        Ok(mut client) => {
            assert_eq!(version.version, TLS13.version, "TLS 1.2 refuses in the handshake");
            client.read_error().await
        }
    }
}

#[tokio::test]
async fn bad_certificates_are_refused_with_their_alert() {
    let lab = Lab::start().await;
    let certificates = lab.simulator.certificates();
    let table = [
        (&certificates.expired, "CertificateExpired"),
        (&certificates.not_yet_valid, "CertificateExpired"),
        (&certificates.wrong_ca, "UnknownCA"),
    ];
    for (file, alert) in table {
        for version in [&TLS12, &TLS13] {
            let error = refusal(&lab, &file.pem, version).await;
            assert!(error.contains(alert), "{file:?}: {error}");
        }
    }
    let summary = lab.wait(|summary| summary.refused == 6).await;
    assert_eq!(summary.connections, 0);
}

#[tokio::test]
async fn the_mismatched_key_does_not_fit_its_certificate() {
    let lab = Lab::start().await;
    let pem = lab.simulator.certificates().mismatched_key.pem.as_bytes();
    let chain = vec![CertificateDer::from_pem_slice(pem).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_client_auth_cert(chain, key);
    assert!(matches!(config, Err(rustls::Error::InconsistentKeys(_))));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let lab = Lab::start().await;
    let mut tcp = TcpStream::connect(lab.simulator.binary_address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut alert = Vec::new();
    soon(tcp.read_to_end(&mut alert)).await.unwrap();
    assert_eq!(alert[..1], [21], "a TLS record of type alert");
    drop(tcp);
    lab.wait(|summary| summary.refused == 1).await;
    assert!(matches!(&lab.events()[0], Event::Refused { reason, .. } if reason.contains("InvalidContentType")));
}

#[tokio::test]
async fn a_certificate_for_the_other_environment_is_closed_after_the_handshake() {
    let lab = Lab::with(|settings| Settings { environment: GatewayEnvironment::Production, ..settings }).await;
    let certificates = lab.simulator.certificates();
    let mut development = lab.connect_as(&certificates.development.pem, rustls::ALL_VERSIONS).await.unwrap();
    assert_eq!(development.read_to_end().await, (vec![], End::CloseNotify));
    for pem in [&certificates.production.pem, &certificates.good.pem] {
        let mut client = lab.connect_as(pem, rustls::ALL_VERSIONS).await.unwrap();
        client.send(&frame(1, "")).await;
    }
    lab.wait(|summary| summary.accepted == 2).await;
}

#[tokio::test]
async fn a_certificate_is_refused_with_any_alert() {
    let table = [
        (Alert::Expired, "CertificateExpired"),
        (Alert::UnknownCa, "UnknownCA"),
        (Alert::Revoked, "CertificateRevoked"),
        (Alert::BadCertificate, "BadCertificate"),
    ];
    let lab = Lab::start().await;
    for (alert, name) in table {
        lab.command(Command::next([ConnectFault::Alert(alert)]).on_next(2));
        for version in [&TLS12, &TLS13] {
            let error = refusal(&lab, lab.good(), version).await;
            assert!(error.contains(name), "{alert:?}: {error}");
        }
    }
    lab.connect().await;
}

#[tokio::test]
async fn the_server_shows_certificates_that_a_client_must_not_trust() {
    let table = [
        (ServerCertificate::WrongName, "not valid for name"),
        (ServerCertificate::OtherRoot, "UnknownIssuer"),
        (ServerCertificate::Expired, "certificate expired"),
    ];
    let lab = Lab::start().await;
    for (certificate, problem) in table {
        lab.command(Command::next([ConnectFault::ServerCertificate(certificate)]));
        let error = lab.connect_as(lab.good(), rustls::ALL_VERSIONS).await.err().unwrap().to_string();
        assert!(error.contains(problem), "{certificate:?}: {error}");
    }
}

#[tokio::test]
async fn only_one_version_of_tls_is_spoken() {
    let table = [(TlsVersion::V1_2, &TLS12, &TLS13), (TlsVersion::V1_3, &TLS13, &TLS12)];
    let lab = Lab::start().await;
    for (version, spoken, not_spoken) in table {
        lab.command(Command::next([ConnectFault::TlsVersion(version)]).on_next(2));
        assert!(lab.connect_as(lab.good(), &[spoken]).await.is_ok());
        let error = lab.connect_as(lab.good(), &[not_spoken]).await.err().unwrap().to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_is_accepted_and_then_nothing_happens() {
    for fault in [ConnectFault::AcceptNothing, ConnectFault::Stall] {
        let lab = Lab::with_command(Command::next([fault])).await;
        let mut tcp = TcpStream::connect(lab.simulator.binary_address()).await.unwrap();
        // Any server would answer this, if only with an alert.
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        match soon(tcp.read_to_end(&mut answer)).await {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        assert_eq!(answer, b"");
        lab.wait(|summary| summary.refused == 1).await;
    }
}

#[tokio::test]
async fn a_certificate_has_only_so_many_connections() {
    let lab = Lab::with_command(Command::every([ConnectFault::ConnectionsMax(1)])).await;
    let mut first = lab.connect().await;
    first.send(&frame(1, "")).await;
    lab.wait(|summary| summary.accepted == 1).await;
    assert_eq!(lab.connect().await.read_to_end().await, (vec![], End::CloseNotify));
    let other = lab.simulator.certificates().issue("com.example.other").unwrap();
    let mut of_other_app = lab.connect_as(&other, rustls::ALL_VERSIONS).await.unwrap();
    of_other_app.send(&frame(2, "")).await;
    lab.wait(|summary| summary.accepted == 2).await;
}

#[tokio::test]
async fn clients_that_reconnect_too_often_are_blocked() {
    let block = ConnectFault::Block { connections: 2, within_ms: 600_000 };
    let lab = Lab::with_command(Command::every([block])).await;
    for _ in 0..2 {
        lab.connect().await;
    }
    assert!(lab.connect_as(lab.good(), rustls::ALL_VERSIONS).await.is_err());
    lab.wait(|summary| summary.refused == 1).await;
    lab.simulator.script().clear();
    lab.connect().await;
}

#[tokio::test]
async fn tickets_key_updates_and_tiny_records_disturb_nobody() {
    let faults = [ConnectFault::SessionTickets(50), ConnectFault::KeyUpdates(20), ConnectFault::RecordSize(32)];
    let lab = Lab::with_command(Command::every(faults)).await;
    for version in [&TLS12, &TLS13] {
        let mut client = lab.connect_as(lab.good(), &[version]).await.unwrap();
        client.send(&[frame(1, ""), frame(2, "bad0")].concat()).await;
        assert_eq!(client.read_to_end().await, (vec![8, 8, 0, 0, 0, 2], End::CloseNotify));
    }
}
