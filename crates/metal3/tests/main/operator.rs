//! The real baremetal-operator, without hardware: its own demo mode.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use control_plane::ControlPlane;

/// The operator's program and definitions, where somebody put them.
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// The folder that `METAL3_TOOLS` names, or the usual one beside the workspace. None where there is
    /// no such folder, which is said loudly and, with `REQUIRE_METAL3_TOOLS=1`, is a failure.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/tools");
        let folder = env::var_os("METAL3_TOOLS").map_or(usual, PathBuf::from);
        if folder.join(OPERATOR).is_file() {
            return Some(Self(folder));
        }
        let notice = format!(
            "NOT RUN: {test}: no {OPERATOR} in {}. To run it, set METAL3_TOOLS to a folder with \
             {OPERATOR} (baremetal-operator v0.13, built with CGO_ENABLED=0, compressed) and {DEFINITIONS} \
             (the files of its config/base/crds/bases).",
            folder.display()
        );
        let required = env::var_os("REQUIRE_METAL3_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "{notice}");
        // Not by eprintln, which the test harness keeps to itself.
        let mut stderr = io::stderr();
        writeln!(stderr, "\n{notice}\n").unwrap();
        None
    }

    /// Installs the operator's own definitions.
    pub(crate) fn install(&self, control_plane: &ControlPlane) {
        let status = control_plane
            .kubectl()
            .args(["apply", "--server-side", "-f"])
            .arg(self.0.join(DEFINITIONS))
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "kubectl apply failed");
        let status = control_plane
            .kubectl()
            .args([
                "wait",
                "--for=condition=Established",
                "--timeout=60s",
                "crd",
                "--all",
            ])
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "kubectl wait failed");
    }

    /// Starts the operator on one namespace.
    pub(crate) fn start(&self, control_plane: &ControlPlane, namespace: &str) -> Operator {
        let log = control_plane.folder().join("baremetal-operator.log");
        let output = File::create(&log).unwrap();
        // The shell stops the operator when its input ends: by our word, or by our death.
        let child = Command::new("/bin/sh")
            .args(["-c", LIFELINE, "sh"])
            .arg(self.unpack())
            .arg(format!("-namespace={namespace}"))
            .args(["-dev", "-demo-mode", "-webhook-port=0", "-metrics-addr=0"])
            .arg("-health-addr=127.0.0.1:0")
            .env("KUBECONFIG", control_plane.kubeconfig())
            .env("TMPDIR", control_plane.folder())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        Operator { child, log }
    }

    /// The program, unpacked once: its name carries the size and age of what it came from.
    fn unpack(&self) -> PathBuf {
        let packed = self.0.join(OPERATOR);
        let metadata = fs::metadata(&packed).unwrap();
        let age = metadata.modified().unwrap().elapsed().unwrap_or_default();
        let made = std::time::SystemTime::now() - age;
        let made = made
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join(format!("baremetal-operator-{}-{made}", metadata.len()));
        if program.is_file() {
            return program;
        }
        let partial = program.with_extension(std::process::id().to_string());
        let status = Command::new("xz")
            .arg("-dc")
            .arg(&packed)
            .stdout(File::create(&partial).unwrap())
            .status();
        assert!(status.expect("xz is installed").success(), "xz failed");
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&partial, &program).unwrap();
        program
    }
}

/// The operator, running until it is dropped.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("baremetal-operator ended with {ended:?}, its log with:\n{tail}");
        }
    }
}

const OPERATOR: &str = "metal3/baremetal-operator.xz";

const DEFINITIONS: &str = "metal3/crds";

/// The input is given to the reader alone, and a child in the background has none in any case.
const LIFELINE: &str = r#""$@" </dev/null & operator=$!
while read -r _; do :; done
kill -KILL "$operator"
wait "$operator""#;
