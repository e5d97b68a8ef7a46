//! The servers' processes: started from this program, looked at through `/proc`, and ended with their
//! handle.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

#[derive(Clone, Copy)]
pub(crate) enum Role {
    Constant,
    Framework,
    /// The framework, its converter with an annotation prefix.
    Lossless,
}

impl Role {
    pub(crate) fn of_this_process() -> Option<Self> {
        match std::env::var(VARIABLE).ok()?.as_str() {
            "constant" => Some(Self::Constant),
            "framework" => Some(Self::Framework),
            "lossless" => Some(Self::Lossless),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Framework => "framework",
            Self::Lossless => "lossless",
        }
    }
}

pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) ca: String,
}

impl Running {
    /// Starts a server and waits until it listens. It ends when its standard input does.
    pub(crate) async fn start(role: Role) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, role.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut addr = String::new();
        said.read_line(&mut addr).unwrap();
        let mut length = String::new();
        said.read_line(&mut length).unwrap();
        let mut ca = vec![0; length.trim().parse().unwrap()];
        said.read_exact(&mut ca).unwrap();
        Self {
            child,
            addr: addr.trim().parse().unwrap(),
            ca: String::from_utf8(ca).unwrap(),
        }
    }

    /// The CPU time so far, of which the kernel counts hundredths of a second.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory, and its peak so far, in KiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = self.read("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap()
                .trim()
                .trim_end_matches(" kB")
                .parse()
                .unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const VARIABLE: &str = "KUBE_WEBHOOK_BENCH_SERVER";
