//! A client of the simulated provider API, on the `h2` crate.

use std::sync::Arc;

use apnsd::simulator::certificates::provider_keys::ProviderKeyFile;
use apnsd::simulator::journal::request::{Request as Entry, RequestCounts};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use h2::PingPong;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::lab::{Lab, soon, token};

/// The payload of every notification.
pub(crate) const PAYLOAD: &[u8] = br#"{"aps":{}}"#;

/// An answer: its status, its headers and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A connection. It ends when this is dropped.
pub(crate) struct Provider {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) pings: PingPong,
    ended: watch::Receiver<Option<Result<(), h2::Reason>>>,
}

impl Lab {
    /// A connection with this certificate, or with none.
    pub(crate) async fn provider(&self, pem: Option<&str>) -> Provider {
        self.provider_tuned(pem, |_| ()).await
    }

    /// The same with an HTTP/2 client that is set up differently.
    pub(crate) async fn provider_tuned(
        &self,
        pem: Option<&str>,
        tune: impl FnOnce(&mut h2::client::Builder),
    ) -> Provider {
        let stream = self.provider_tls(pem, &[b"h2"]).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_max_send_streams(10);
        tune(&mut builder);
        let (requests, mut connection) = soon(builder.handshake(stream)).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        let (sender, ended) = watch::channel(None);
        self.shutdown.spawn(async move {
            let end = connection.await.map_err(|error| error.reason().unwrap_or(h2::Reason::CONNECT_ERROR));
            sender.send_replace(Some(end));
        });
        Provider { requests, pings, ended }
    }

    pub(crate) async fn provider_tls(
        &self,
        pem: Option<&str>,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.simulator.certificates().ca.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pem {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let address = self.simulator.http2_address();
        let tcp = soon(TcpStream::connect(address)).await?;
        tcp.set_nodelay(true)?;
        soon(TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), tcp)).await
    }

    /// The counts of the provider API, once they are as wanted.
    pub(crate) async fn counts(&self, mut wanted: impl FnMut(&RequestCounts) -> bool) -> RequestCounts {
        self.wait(|summary| wanted(&summary.http2)).await.http2
    }

    /// The journal's entries about requests.
    pub(crate) fn requests(&self) -> Vec<Entry> {
        self.simulator.journal().requests().into_iter().map(|(_, request)| request).collect()
    }

    /// The `authorization` header of a provider token of the good key, issued now.
    pub(crate) fn authorization(&self) -> String {
        let now = apnsd::clock::Clock::system().timestamp().as_secs();
        authorization(&self.simulator.certificates().provider_keys.good, now)
    }
}

/// The `authorization` header of a provider token.
pub(crate) fn authorization(key: &ProviderKeyFile, issued_at: i64) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.key_id);
    let claims = format!(r#"{{"iss":"{}","iat":{issued_at}}}"#, key.team_id);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.file.pem.as_bytes()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).unwrap();
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A good request for a token that begins with these digits, with more headers.
pub(crate) fn request(prefix: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("https://localhost/3/device/{}", token(prefix)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The same for the app of the good certificate.
pub(crate) fn good(prefix: &str) -> Request<()> {
    request(prefix, &[("apns-topic", "com.example.app"), ("apns-push-type", "alert")])
}

impl Provider {
    /// Sends a request as soon as the server lets it; its answer comes later.
    pub(crate) async fn send(&self, request: Request<()>, body: &[u8]) -> Result<ResponseFuture, h2::Error> {
        let mut requests = soon(self.requests.clone().ready()).await?;
        let (answer, mut stream) = requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        Ok(answer)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        answer(self.send(request, body).await?).await
    }

    /// The same with a good request; status and reason of its answer.
    pub(crate) async fn push(&self, prefix: &str) -> (u16, String) {
        self.ask(good(prefix), PAYLOAD).await.unwrap().told()
    }

    /// Waits until the server has told that so many streams may be open.
    pub(crate) async fn limit(&self, streams: usize) {
        soon(async {
            while self.requests.current_max_send_streams() != streams {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until the connection has ended. `Err` is the code of its GOAWAY; CONNECT_ERROR stands for the transport.
    pub(crate) async fn ended(&mut self) -> Result<(), h2::Reason> {
        soon(self.ended.wait_for(Option::is_some)).await.unwrap().unwrap()
    }
}

/// Waits for an answer and its body.
pub(crate) async fn answer(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = soon(answer).await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = soon(stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend(data);
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body).unwrap() })
}

impl Answer {
    /// Status and reason.
    pub(crate) fn told(&self) -> (u16, String) {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        (self.status, json["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
