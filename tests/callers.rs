//! What a caller must show: TLS, certificates, users, and what users may do; with a whole daemon and literal requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::Daemon;
use apnsd::listener::user::Token;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key in PEM.
    fn issue(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A daemon with the configuration of a file.
struct Site {
    dir: tempfile::TempDir,
    daemon: Daemon,
    authority: Authority,
}

impl Site {
    /// `$DIR` in the configuration has `server.pem` and `ca.pem`.
    async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        fs::write(dir.path().join("server.pem"), authority.issue("localhost")).unwrap();
        fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let daemon = Daemon::start(&load(dir.path(), config), Clock::system()).await.unwrap();
        Self { dir, daemon, authority }
    }

    fn address(&self, at: usize) -> String {
        self.daemon.addresses()[at].to_string()
    }

    async fn connect(&self, at: usize) -> TcpStream {
        TcpStream::connect(self.address(at).trim_start_matches("tls:")).await.unwrap()
    }

    /// A TLS connection that shows a certificate, or none.
    async fn connect_tls(
        &self,
        at: usize,
        show: Option<&str>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match show {
            Some(pem) => {
                let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.connect(at).await).await
    }

    async fn reload(&self, config: &str) {
        self.daemon.reload(&load(self.dir.path(), config)).await.unwrap();
    }
}

fn load(dir: &Path, config: &str) -> Config {
    let file = dir.join("apnsd.toml");
    let common = "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\", \"unix:$DIR/apnsd.sock\"]\nstate_dir = \"state\"\n\
                  store.kind = \"memory\"\n";
    let text = format!("{common}{config}").replace("$DIR", &dir.display().to_string());
    fs::write(&file, text).unwrap();
    let (config, warnings) = Config::load(Some(&file), std::iter::empty(), Clock::system().timestamp()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

const TLS: &str = "[tls]\ncertificate = \"server.pem\"\n";
const MUTUAL_TLS: &str = "[tls]\ncertificate = \"server.pem\"\nclient_ca = \"ca.pem\"\n";

fn user(name: &str, token: &Token, more: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\ntoken = \"{}\"\n{more}\n", token.hash())
}

/// A call without arguments, or with one string.
fn call(method: &str, argument: Option<&str>) -> String {
    let params =
        argument.map_or_else(String::new, |text| format!("<params><param><value>{text}</value></param></params>"));
    format!("<methodCall><methodName>{method}</methodName>{params}</methodCall>")
}

/// Makes a call; status line and body of the answer.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, authorization: &str, body: &str) -> (String, String) {
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    let exchange = async {
        // A server that refuses may close before all was sent.
        let _ = stream.write_all(format!("{head}{authorization}\r\n{body}").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn bearer(token: &Token) -> String {
    format!("Authorization: Bearer {}\r\n", token.reveal())
}

const OK: &str = "HTTP/1.1 200 OK";
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized";

#[tokio::test(flavor = "multi_thread")]
async fn calls_arrive_over_tls() {
    let site = Site::start(TLS).await;
    let (status, body) = ask(site.connect_tls(1, None).await.unwrap(), "", &call("apnsd.apps", None)).await;
    assert_eq!(status, OK);
    assert!(body.contains("<methodResponse>"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_tls_gets_no_answer_where_tls_is_spoken() {
    let site = Site::start(TLS).await;
    let (status, _) = ask(site.connect(1).await, "", &call("apnsd.apps", None)).await;
    assert!(!status.starts_with("HTTP/"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_certificates_are_demanded_only_their_owners_may_call() {
    let site = Site::start(MUTUAL_TLS).await;
    let shown = site.authority.issue("caller");
    let (status, _) = ask(site.connect_tls(1, Some(&shown)).await.unwrap(), "", &call("apnsd.apps", None)).await;
    assert_eq!(status, OK);
    for show in [None, Some(Authority::new().issue("caller"))] {
        // In TLS 1.3 the client learns of it after the handshake.
        if let Ok(stream) = site.connect_tls(1, show.as_deref()).await {
            assert_eq!(ask(stream, "", &call("apnsd.apps", None)).await.0, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_counts_after_a_reload() {
    let mut site = Site::start(TLS).await;
    site.authority = Authority::new();
    assert!(site.connect_tls(1, None).await.is_err(), "the certificate is of the authority before");
    fs::write(site.dir.path().join("server.pem"), "half of it").unwrap();
    let file = site.dir.path().join("apnsd.toml");
    let refused = Config::load(Some(&file), std::iter::empty(), Clock::system().timestamp()).unwrap_err().to_string();
    assert!(refused.contains("tls.certificate: "), "a file that is being written is no configuration: {refused}");
    fs::write(site.dir.path().join("server.pem"), site.authority.issue("localhost")).unwrap();
    site.reload(TLS).await;
    let (status, _) = ask(site.connect_tls(1, None).await.unwrap(), "", &call("apnsd.apps", None)).await;
    assert_eq!(status, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_known_by_name_and_token_over_every_address_but_the_unix_socket() {
    let token = Token::generate().unwrap();
    let site = Site::start(&format!("{TLS}{}", user("web", &token, ""))).await;
    let apps = call("apnsd.apps", None);
    assert_eq!(ask(site.connect(0).await, "", &apps).await.0, UNAUTHORIZED);
    assert_eq!(ask(site.connect(0).await, "Authorization: Bearer apnsd_x\r\n", &apps).await.0, UNAUTHORIZED);
    assert_eq!(ask(site.connect(0).await, &bearer(&token), &apps).await.0, OK);
    let tls = site.connect_tls(1, None).await.unwrap();
    assert_eq!(ask(tls, &bearer(&token), &apps).await.0, OK);
    let unix = UnixStream::connect(site.dir.path().join("apnsd.sock")).await.unwrap();
    assert_eq!(ask(unix, "", &apps).await.0, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_lists_say() {
    let token = Token::generate().unwrap();
    let lists = "apps = [\"shop\"]\nmethods = [\"feedback\", \"apnsd.apps\", \"configure\"]";
    let site = Site::start(&format!("{TLS}{}", user("shop", &token, lists))).await;
    let told =
        async |method: &str, argument| ask(site.connect(0).await, &bearer(&token), &call(method, argument)).await.1;
    assert!(told("feedback", Some("shop")).await.contains("The app_id specified has not been provisioned."));
    let other = told("feedback", Some("other")).await;
    assert!(other.contains("user `shop` may not use the app `other`: add it to `apps`"), "{other}");
    let deprovision = told("apnsd.deprovision", Some("shop")).await;
    assert!(deprovision.contains("user `shop` may not call apnsd.deprovision: add it to `methods`"), "{deprovision}");
    let listed = told("system.listMethods", None).await;
    assert!(listed.contains("<string>notify</string>"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_calls_do_not_hide_in_others() {
    let token = Token::generate().unwrap();
    let site = Site::start(&format!("{TLS}{}", user("shop", &token, "apps = [\"shop\"]"))).await;
    let multicall = "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data><value>\
        <struct><member><name>methodName</name><value>apnsd.status</value></member><member><name>params</name><value>\
        <array><data><value>other</value></data></array></value></member></struct></value></data></array></value>\
        </param></params></methodCall>";
    let configure = "<methodCall><methodName>configure</methodName><params><param><value><struct><member><name>INITIAL\
        </name><value><array><data><value><array><data><value>other</value><value>/x.pem</value><value>sandbox</value>\
        </data></array></value></data></array></value></member></struct></value></param></params></methodCall>";
    for body in [multicall, configure] {
        let (_, answer) = ask(site.connect(0).await, &bearer(&token), body).await;
        assert!(answer.contains("user `shop` may not use the app `other`"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_with_a_reload() {
    let (old, new) = (Token::generate().unwrap(), Token::generate().unwrap());
    let site = Site::start(&format!("{TLS}{}", user("web", &old, ""))).await;
    site.reload(&format!("{TLS}{}", user("web", &new, ""))).await;
    let apps = call("apnsd.apps", None);
    assert_eq!(ask(site.connect(0).await, &bearer(&old), &apps).await.0, UNAUTHORIZED);
    assert_eq!(ask(site.connect(0).await, &bearer(&new), &apps).await.0, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_opens_no_address_that_is_listened_on_to_everybody() {
    let token = Token::generate().unwrap();
    let site = Site::start(MUTUAL_TLS).await;
    let without_users = load(site.dir.path(), MUTUAL_TLS);
    let with = |listen: &str, tls: &str| {
        let mut config = load(site.dir.path(), &format!("{tls}{}", user("web", &token, "")));
        config.listen = vec![listen.parse().unwrap()];
        config
    };
    for (listen, tls) in [("0.0.0.0:0", TLS), ("tls:0.0.0.0:0", TLS)] {
        let daemon = Daemon::start(&with(listen, tls), Clock::system()).await.unwrap();
        let address = daemon.addresses()[0].to_string();
        let refused = daemon.reload(&without_users).await.unwrap_err().to_string();
        let told = format!("`{address}` can be reached by others and is listened on until the next start");
        assert!(refused.starts_with(&told), "{refused}");
        let status = if let Some(port) = address.strip_prefix("0.0.0.0:") {
            let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
            ask(stream, "", &call("apnsd.apps", None)).await.0
        } else {
            UNAUTHORIZED.to_owned()
        };
        assert_eq!(status, UNAUTHORIZED);
    }
    let mutual = Daemon::start(&with("tls:0.0.0.0:0", MUTUAL_TLS), Clock::system()).await.unwrap();
    assert_eq!(mutual.reload(&without_users).await, Ok(()), "callers show a certificate there");
    let local = Daemon::start(&with("127.0.0.1:0", TLS), Clock::system()).await.unwrap();
    assert_eq!(local.reload(&without_users).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reaches_every_address() {
    let token = Token::generate().unwrap();
    let site = Site::start(&format!("{TLS}{}", user("web", &token, ""))).await;
    let run = async |url: String| {
        let mut apps = std::process::Command::new(env!("CARGO_BIN_EXE_apnsd"));
        apps.args(["apps", "--url", &url]).env("SSL_CERT_FILE", site.dir.path().join("ca.pem"));
        let output = tokio::task::spawn_blocking(move || apps.output().unwrap()).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let token = token.reveal();
    let https = site.address(1).replace("tls:127.0.0.1", &format!("https://web:{token}@localhost"));
    let socket = site.dir.path().join("apnsd.sock");
    for url in [https, format!("http://web:{token}@{}", site.address(0)), format!("unix:{}", socket.display())] {
        assert_eq!(run(url.clone()).await, (Some(0), String::new()), "{url}");
    }
    let (code, told) = run(format!("http://web:apnsd_wrong@{}", site.address(0))).await;
    assert_eq!(code, Some(3));
    assert!(told.contains("HTTP status 401: No user of this daemon has this name and token."), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_limits_is_told_to_slow_down_and_others_are_not() {
    let (slow, free) = (Token::generate().unwrap(), Token::generate().unwrap());
    let limits = "calls_per_second = 1";
    let site = Site::start(&format!("{TLS}{}{}", user("slow", &slow, limits), user("free", &free, ""))).await;
    let listed = call("system.listMethods", None);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask(site.connect(0).await, &bearer(&slow), &listed).await);
    }
    assert_eq!(answers[0].0, OK);
    let refused = answers.iter().find(|(status, _)| status == "HTTP/1.1 429 Too Many Requests");
    assert_eq!(refused.unwrap().1, "This user may make 1 calls in a second: try again later.\n");
    for _ in 0..10 {
        assert_eq!(ask(site.connect(0).await, &bearer(&free), &listed).await.0, OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_be_given_small_bodies_alone() {
    let token = Token::generate().unwrap();
    let site = Site::start(&format!("{TLS}{}", user("small", &token, "body = \"1KiB\""))).await;
    assert_eq!(ask(site.connect(0).await, &bearer(&token), &call("apnsd.apps", None)).await.0, OK);
    let long = call("apnsd.status", Some(&"x".repeat(1024)));
    assert_eq!(ask(site.connect(0).await, &bearer(&token), &long).await.0, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_signs_itself_is_taken_unless_it_is_an_authority() {
    for (is_authority, told) in [(false, ""), (true, "certificate is one of an authority (CA:TRUE)")] {
        let site = Site::start(TLS).await;
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = if is_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        let own = params.self_signed(&key).unwrap().pem();
        fs::write(site.dir.path().join("server.pem"), own.clone() + &key.serialize_pem()).unwrap();
        fs::write(site.dir.path().join("ca.pem"), own).unwrap();
        site.reload(TLS).await;
        let mut apps = std::process::Command::new(env!("CARGO_BIN_EXE_apnsd"));
        let url = site.address(1).replace("tls:127.0.0.1", "https://localhost");
        apps.args(["apps", "--url", &url]).env("SSL_CERT_FILE", site.dir.path().join("ca.pem"));
        let output = tokio::task::spawn_blocking(move || apps.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), said.contains(told)),
            (Some(if is_authority { 3 } else { 0 }), true),
            "{said}"
        );
    }
}
