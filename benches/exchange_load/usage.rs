//! CPU and memory usage of processes, as the kernel counts it.

use std::{fs, path::Path, time::Duration};

/// The unit of times in `/proc` on Linux: 1/100 s.
const TICK: Duration = Duration::from_millis(10);

struct Stat {
    parent: u32,
    own: u32,
    /// The CPU time of children that have exited and been waited for.
    ended: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program name is in parentheses and can contain any character. The third field follows it.
    let (_, after) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(Stat { parent: number(4)?, own: number(14)? + number(15)?, ended: number(16)? + number(17)? })
}

/// The CPU time of a process, including all running and finished threads.
pub fn cpu(pid: u32) -> Duration {
    TICK * stat(pid).expect("the process runs").own
}

/// The CPU time of a process and its children. A child that exits during the call may be missing
/// from the result.
pub fn cpu_with_children(pid: u32) -> Duration {
    let parent = stat(pid).expect("PostgreSQL runs");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: u32 = pids.filter_map(stat).filter(|stat| stat.parent == pid).map(|stat| stat.own).sum();
    TICK * (parent.own + parent.ended + children)
}

/// The CPU time that all cores have spent on any work since the machine started.
pub fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let times = field(&text, "cpu ").expect("the sum of all cores").split_ascii_whitespace();
    // The fields are user, nice, system, idle, iowait, irq, softirq and steal. Guest time is part
    // of user already. Idle and iowait are skipped.
    let busy = times.enumerate().take(8).filter(|(position, _)| ![3, 4].contains(position));
    TICK * busy.map(|(_, time)| time.parse::<u32>().expect("a number")).sum()
}

/// The resident memory, in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field(&status, "VmRSS:").and_then(|value| value.trim_end_matches(" kB").parse().ok()).expect("VmRSS")
}

/// The pid of the PostgreSQL server with the data directory `data`.
pub fn postmaster(data: &Path) -> u32 {
    let file = fs::read_to_string(data.join("postmaster.pid")).expect("postmaster.pid in KEYSWAP_TEST_PGDATA");
    file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a pid in postmaster.pid")
}

/// The value of a line such as `name: value`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches([' ', '\t', ':']))
}
