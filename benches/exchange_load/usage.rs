//! What processes have used, as the kernel counts it.

use std::{fs, path::Path, time::Duration};

/// Linux counts in hundredths of a second wherever it is read from `/proc`.
const TICK: Duration = Duration::from_millis(10);

struct Stat {
    parent: u32,
    own: u32,
    /// Of children that have ended and been waited for.
    ended: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything; the third field follows it.
    let (_, after) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(Stat { parent: number(4)?, own: number(14)? + number(15)?, ended: number(16)? + number(17)? })
}

/// The CPU time of a process, all threads together, living and ended.
pub fn cpu(pid: u32) -> Duration {
    TICK * stat(pid).expect("the process runs").own
}

/// The CPU time of a process and all its children. A child that ends while this looks may be missed for the moment.
pub fn cpu_with_children(pid: u32) -> Duration {
    let parent = stat(pid).expect("PostgreSQL runs");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: u32 = pids.filter_map(stat).filter(|stat| stat.parent == pid).map(|stat| stat.own).sum();
    TICK * (parent.own + parent.ended + children)
}

/// What all cores have been busy with since the machine started, whoever it was for.
pub fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let times = field(&text, "cpu ").expect("the sum of all cores").split_ascii_whitespace();
    // user, nice, system, idle, waiting for disks, and the rest that is work or was taken by other guests; guests of ours are
    // part of user already.
    let busy = times.enumerate().take(8).filter(|(position, _)| ![3, 4].contains(position));
    TICK * busy.map(|(_, time)| time.parse::<u32>().expect("a number")).sum()
}

/// Resident memory, in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    field(&status, "VmRSS:").and_then(|value| value.trim_end_matches(" kB").parse().ok()).expect("VmRSS")
}

/// The pid of the PostgreSQL server that works on `data`.
pub fn postmaster(data: &Path) -> u32 {
    let file = fs::read_to_string(data.join("postmaster.pid")).expect("postmaster.pid in KEYSWAP_TEST_PGDATA");
    file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a pid in postmaster.pid")
}

/// The value of a line such as `name: value`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches([' ', '\t', ':']))
}
