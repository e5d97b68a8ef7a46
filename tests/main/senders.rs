//! The ways of docs/sender-trust.md, as senders see them that trust only what their runtime
//! brings or what was imported: a real JVM with keytool, and rustls with as few roots.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use harbormaster::events::signature::sign;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use xtask::stage::SECRET;

use crate::{
    own::{Own, Settings, nowhere},
    stage::install_crypto,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_java_sender_gets_through_by_each_documented_way_and_by_no_other() {
    if let Err(error) = Command::new("keytool").arg("-version").output() {
        let complaint = format!("NOT RUN: a JDK is needed, for `java` and `keytool`: {error}\n");
        assert!(std::env::var_os("REQUIRE_JAVA").is_none(), "{complaint}");
        // Past the harness, which shows nothing of a test that passes.
        std::io::stderr().write_all(complaint.as_bytes()).unwrap();
        return;
    }
    let site = Site::open().await;
    let attempts = site.attempts();
    let mut java = Command::new("java");
    java.arg(format!(
        "-Djdk.net.hosts.file={}",
        site.file("hosts").display()
    ));
    java.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/main/senders/Sender.java"));
    java.args([TEST_EVENT, &sign(SECRET, TEST_EVENT.as_bytes())]);
    for attempt in &attempts {
        let store = attempt.trust.map(|authority| site.imported(authority));
        java.arg(store.unwrap_or_else(|| PathBuf::from("default")));
        java.arg(&attempt.url);
    }
    let output = tokio::task::spawn_blocking(move || java.output().unwrap());
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(said.lines().count(), attempts.len(), "{said}{complaint}");
    for (attempt, line) in attempts.iter().zip(said.lines()) {
        let is_through = line == "200";
        assert_eq!(is_through, attempt.gets_through, "{}: {line}", attempt.way);
        assert!(
            is_through || line.contains("SSLHandshakeException"),
            "{line}"
        );
    }
    site.has_counted(&attempts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_sender_on_rustls() {
    let site = Site::open().await;
    let attempts = site.attempts();
    for attempt in &attempts {
        let answer = attempt.by_rustls(&site).await;
        let is_through = answer.as_ref().is_ok_and(|line| line.contains(" 200 "));
        assert_eq!(
            is_through, attempt.gets_through,
            "{}: {answer:?}",
            attempt.way
        );
    }
    site.has_counted(&attempts).await;
}

/// One way to post an event.
struct Attempt {
    way: &'static str,
    /// Whose root the sender trusts, beside those of its runtime.
    trust: Option<&'static str>,
    url: String,
    gets_through: bool,
    /// Whether it is our own listener that is refused.
    is_ours: bool,
}

impl Attempt {
    async fn by_rustls(&self, site: &Site) -> std::io::Result<String> {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let (authority, _) = rest.split_once('/').unwrap();
        let (host, port) = authority.split_once(':').unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.parse().unwrap());
        let stream = TcpStream::connect(address).await?;
        if scheme == "http" {
            return exchange(stream, host).await;
        }
        let mut roots = RootCertStore::empty();
        if let Some(name) = self.trust {
            let file = site.file(&format!("{name}.crt"));
            roots
                .add(CertificateDer::from_pem_file(file).unwrap())
                .unwrap();
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
        let name = ServerName::try_from(host.to_owned()).unwrap();
        exchange(connector.connect(name, stream).await?, host).await
    }
}

/// The first line of the answer to the test event.
async fn exchange(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    host: &str,
) -> std::io::Result<String> {
    let signature = sign(SECRET, TEST_EVENT.as_bytes());
    let length = TEST_EVENT.len();
    let request = format!(
        "POST /webhook HTTP/1.1\r\nHost: {host}\r\nX-Webhook-Signature: {signature}\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{TEST_EVENT}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// The program with all ways open, an ingress before it, and authorities.
struct Site {
    own: Own,
    ingress: u16,
    folder: tempfile::TempDir,
}

impl Site {
    async fn open() -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let cluster = Authority::new(root, "cluster");
        cluster.issue(root, "ours", &[SERVICE, EXTRA_NAME]);
        let public = Authority::new(root, "public");
        public.issue(root, "site", &[OWN_NAME]);
        public.issue(root, "ingress", &[INGRESS_NAME]);
        let names = [SERVICE, EXTRA_NAME, OWN_NAME, INGRESS_NAME, EVENTS_SERVICE];
        fs::write(
            root.join("hosts"),
            format!("127.0.0.1 {}\n", names.join(" ")),
        )
        .unwrap();

        let run = root.join("run");
        fs::create_dir(&run).unwrap();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let files = ["ours.crt", "ours.key", "site.crt", "site.key"].map(path);
        let own = Own::start(&Settings {
            kubeconfig: &nowhere(root),
            namespace: "default",
            folder: &run,
            more: &[
                ("TLS_CERT_FILE", &files[0]),
                ("TLS_KEY_FILE", &files[1]),
                ("EVENTS_TLS_CERT_FILE", &files[2]),
                ("EVENTS_TLS_KEY_FILE", &files[3]),
            ],
        });
        let ingress = ingress(root, own.events().to_owned()).await;
        Self {
            own,
            ingress,
            folder,
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
        let (plain, tls) = (port(self.own.events()), self.own.tls().port());
        let ingress = self.ingress;
        let attempt = |way, trust, url, gets_through, is_ours| Attempt {
            way,
            trust,
            url,
            gets_through,
            is_ours,
        };
        let ours = format!("https://{SERVICE}:{tls}/webhook");
        let extra = format!("https://{EXTRA_NAME}:{tls}/webhook");
        let own = format!("https://{OWN_NAME}:{tls}/webhook");
        let through = format!("https://{INGRESS_NAME}:{ingress}/webhook");
        vec![
            attempt("the cluster's CA, unknown", None, ours.clone(), false, true),
            attempt(
                "an extra name, unknown CA",
                None,
                extra.clone(),
                false,
                true,
            ),
            attempt(
                "a certificate by SNI, unknown CA",
                Some("cluster"),
                own.clone(),
                false,
                true,
            ),
            attempt(
                "an ingress, unknown CA",
                Some("cluster"),
                through.clone(),
                false,
                false,
            ),
            attempt(
                "1. plain HTTP",
                None,
                format!("http://{EVENTS_SERVICE}:{plain}/webhook"),
                true,
                false,
            ),
            attempt("2. TLS at an ingress", Some("public"), through, true, false),
            attempt("3. a certificate by SNI", Some("public"), own, true, false),
            attempt(
                "4. an extra name, imported CA",
                Some("cluster"),
                extra,
                true,
                false,
            ),
            attempt(
                "the Service's name, imported CA",
                Some("cluster"),
                ours,
                true,
                false,
            ),
        ]
    }

    /// A trust store as the documented command leaves it: the runtime's own, and one more.
    fn imported(&self, authority: &str) -> PathBuf {
        let store = self.file(&format!("{authority}.jks"));
        if store.exists() {
            return store;
        }
        let keytool = Command::new("sh")
            .args(["-c", "readlink -f \"$(command -v keytool)\""])
            .output()
            .unwrap();
        let keytool = PathBuf::from(String::from_utf8(keytool.stdout).unwrap().trim());
        let home = keytool.parent().and_then(Path::parent).unwrap();
        fs::copy(home.join("lib/security/cacerts"), &store).unwrap();
        let documented = import_command();
        let command = documented
            .replace("-cacerts", &format!("-keystore {}", store.display()))
            .replace("ca.crt", &format!("{authority}.crt"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(self.folder.path());
        let output = shell.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {complaint}");
        store
    }

    /// What an operator sees of it: handshakes that failed, and events that came.
    async fn has_counted(&self, attempts: &[Attempt]) {
        let (_, metrics) = self.own.scrape("/metrics").await;
        let failed = attempts.iter().filter(|attempt| attempt.is_ours).count();
        let came = attempts
            .iter()
            .filter(|attempt| attempt.gets_through)
            .count();
        for line in [
            format!("kube_webhook_tls_handshakes_total{{outcome=\"failed\"}} {failed}"),
            format!("harbormaster_events_total{{type=\"ALL\",outcome=\"ignored\"}} {came}"),
        ] {
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The command that docs/sender-trust.md gives.
fn import_command() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sender-trust.md");
    let text = fs::read_to_string(page).unwrap();
    let mut commands = text.lines().filter(|line| line.starts_with("keytool "));
    commands.next().unwrap().to_owned()
}

/// Ends TLS, and hands on what it hears.
async fn ingress(folder: &Path, behind: String) -> u16 {
    let chain = CertificateDer::pem_file_iter(folder.join("ingress.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("ingress.key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await.ok()?;
                let mut inside = TcpStream::connect(behind).await.ok()?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside)
                    .await
                    .ok()
            });
        }
    });
    port
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Its root becomes `NAME.crt`.
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, folder: &Path, file: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(folder.join(format!("{file}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

/// What the portal's button "Test webhook" sends has no effect.
const TEST_EVENT: &str = r#"{"eventType":"ALL","timestamp":"2026-11-22T10:00:00Z"}"#;

const SERVICE: &str = "harbormaster.harbormaster-system.svc";
const EVENTS_SERVICE: &str = "harbormaster-events.harbormaster-system.svc";
const EXTRA_NAME: &str = "events.lab.example.org";
const OWN_NAME: &str = "events.example.org";
const INGRESS_NAME: &str = "ingress.example.org";
