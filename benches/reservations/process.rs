//! What a process takes, as the kernel counts it.

use std::{fs, path::Path, time::Duration};

/// A process of this machine's.
pub(crate) struct Process {
    id: u32,
}

impl Process {
    /// The one that runs this program.
    pub(crate) fn running(program: &Path) -> Self {
        let processes = fs::read_dir("/proc").unwrap();
        let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids = names.filter_map(|name| name.parse().ok());
        let runs_it = |id: &u32| {
            let file = fs::read_link(format!("/proc/{id}/exe"));
            file.is_ok_and(|file| file == program)
        };
        let id = ids.find(runs_it).unwrap();
        Self { id }
    }

    /// The processor time that it has used: its own and the kernel's for it.
    pub(crate) fn used(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap();
        // The name in parentheses may hold blanks.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
        // utime and stime, the 14th and 15th of all (proc_pid_stat(5)), in hundredths of a second.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// What it has of the machine's memory, and the most that it ever had.
    pub(crate) fn memory(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let lines = status.lines();
        let lines = lines.filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
        lines.collect::<Vec<_>>().join(", ").replace('\t', " ")
    }
}
