//! A run of the program of a test's own: other settings than the shared stage's, and an end
//! that the test chooses. Speaks plain HTTP, on ports that the system picks.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use harbormaster::events::signature::sign;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use xtask::stage::SECRET;

use crate::stage::{program, shared, until};

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Own {
    child: Child,
    tls: String,
    events: String,
    admin: String,
    log: PathBuf,
}

/// How it is to be run.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) kubeconfig: &'a Path,
    pub(crate) namespace: &'a str,
    /// Logs and the spool are kept in it.
    pub(crate) folder: &'a Path,
    pub(crate) more: &'a [(&'a str, &'a str)],
}

impl Own {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(settings: &Settings<'_>) -> Self {
        Self::start_by(Command::new(program()), settings)
    }

    /// Starts it where no file can become larger than this: a disk that is full.
    pub(crate) fn start_within(kib: u32, settings: &Settings<'_>) -> Self {
        let mut shell = Command::new("sh");
        // Units of 512 bytes (POSIX), and an error rather than a signal.
        let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kib * 2);
        shell.args(["-c", &limit, "sh"]).arg(program());
        Self::start_by(shell, settings)
    }

    fn start_by(mut command: Command, settings: &Settings<'_>) -> Self {
        let log = settings.folder.join("log");
        if !settings.more.iter().any(|(name, _)| *name == "TLS_MODE") {
            // The stage's certificate: to make one takes a debug build its time.
            command
                .env("TLS_MODE", "files")
                .env("TLS_CERT_FILE", shared().folder().join("tls.crt"))
                .env("TLS_KEY_FILE", shared().folder().join("tls.key"));
        }
        let mut child = command
            .arg("--kubeconfig")
            .arg(settings.kubeconfig)
            .env("K8S_NAMESPACE", settings.namespace)
            .env("SPOOL_DIR", settings.folder.join("spool"))
            .env("WEBHOOK_SECRET", SECRET)
            .env("LOG_FORMAT", "json")
            .env("BIND_ADDRESS", "127.0.0.1")
            .env("DRAIN_DELAY", "0")
            .envs([
                ("PORT", "0"),
                ("ADMIN_PORT", "0"),
                ("EVENTS_HTTP_PORT", "0"),
            ])
            .envs(settings.more.iter().copied())
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            let lines = fs::read_to_string(&log).unwrap();
            let address = |name| field(&lines, name);
            if let (Some(tls), Some(events), Some(admin)) =
                (address("tls"), address("events"), address("admin"))
            {
                return Self {
                    child,
                    tls,
                    events,
                    admin,
                    log,
                };
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}): {lines}");
            assert!(begun.elapsed() < PATIENCE, "it doesn't listen: {lines}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it as the kernel does when memory runs out: at once, and without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as the kubelet does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for its readiness.
    pub(crate) async fn until_ready(&self) {
        until("to be ready", async || {
            (self.scrape("/readyz").await.0 == 200).then_some(())
        })
        .await;
    }

    /// Waits for its end, which must be a good one; the thread goes on meanwhile.
    pub(crate) async fn ends_well(self) {
        let ended = tokio::task::spawn_blocking(|| self.ended()).await.unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// How it ended, once it has.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it doesn't end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The address of its plain listener for events.
    pub(crate) fn events(&self) -> &str {
        &self.events
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Where it listens for TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.tls.parse().unwrap()
    }

    /// Where its door for events is.
    pub(crate) fn sender(&self) -> Sender {
        Sender {
            client: client(),
            url: format!("http://{}/webhook", self.events),
        }
    }

    /// Reads a path of its admin port: the status and the text.
    pub(crate) async fn scrape(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin);
        let answer = client().get(url.parse().unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        #[expect(clippy::print_stderr, reason = "what a failed test is to be judged by")]
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sender with one connection at a time.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Sender {
    /// Posts a signed event; nothing if the connection breaks before the answer.
    pub(crate) async fn post(&self, event: &Value) -> Option<(u16, Value)> {
        let body = event.to_string();
        let request = axum::http::Request::post(&self.url)
            .header("x-webhook-signature", sign(SECRET, body.as_bytes()))
            .body(Full::from(body))
            .unwrap();
        let answer = self.client.request(request).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).ok()?))
    }
}

/// A kubeconfig whose API server nobody will ever reach.
pub(crate) fn nowhere(folder: &Path) -> PathBuf {
    let file = folder.join("nowhere");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\n\
        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\n\
        users: [{name: u, user: {token: none}}]\n";
    fs::write(&file, text).unwrap();
    file
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The value of the first whole log line that has the field.
fn field(lines: &str, name: &str) -> Option<String> {
    let whole = lines.rsplit_once('\n')?.0;
    whole.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line.get(name)?.as_str()?.to_owned())
    })
}

const PATIENCE: Duration = Duration::from_secs(60);
