//! The checks, each by a few files of the kernel.
//!
//! The cores that count are those that the configuration pins stages to, or else those that are isolated.

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit, getuid};

use super::host::{Host, parse_cores, show_cores};
use super::{Finding, Needs, Status};

/// A core that sleeps deeper needs longer to wake up than a message takes, µs.
const WAKE_MAX_US: u64 = 10;
/// Of the processor's time, taken by others on the same machine.
const STEAL_MAX_PERCENT: f64 = 0.1;
/// Beside shared memory: the engine's own.
const OWN_MEMORY_BYTES: u64 = 256 << 20;
/// Sockets, segments, models' files and logs.
const OPEN_FILES_MIN: u64 = 4_096;
/// Users below are the system's.
const FIRST_PERSON: u32 = 1_000;

pub(super) fn all(host: &Host, needs: &Needs) -> Vec<Finding> {
    let isolated = host.cores("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let cores = if needs.cores.is_empty() { &isolated } else { &needs.cores };
    vec![
        isolated_cores(&isolated, needs),
        governor(host, cores),
        c_states(host, cores),
        siblings(host, cores),
        nodes(host, cores),
        interrupts(host, cores),
        huge_pages(host),
        clock_source(host),
        clock_sync(host),
        shared_memory(needs),
        memory_limit(host, needs),
        locked_memory(needs),
        open_files(),
        throttling(host),
        steal(host),
        remove_ipc(host, getuid().as_raw()),
    ]
}

fn finding(
    check: &'static str,
    status: Status,
    found: impl Into<String>,
    wanted: impl Into<String>,
    mend: &'static str,
) -> Finding {
    Finding { check, status, found: found.into(), wanted: wanted.into(), mend }
}

const fn good_if(is_good: bool) -> Status {
    if is_good { Status::Good } else { Status::Bad }
}

fn isolated_cores(isolated: &[usize], needs: &Needs) -> Finding {
    let is_good = !isolated.is_empty() && needs.cores.iter().all(|core| isolated.contains(core));
    let wanted = if needs.cores.is_empty() {
        "a core that nothing else runs on, named in engine.cores".to_owned()
    } else {
        format!("{} isolated, which engine.cores names", show_cores(&needs.cores))
    };
    let mend =
        "kernel command line: isolcpus=managed_irq,domain,LIST nohz_full=LIST rcu_nocbs=LIST";
    finding("isolated_cores", good_if(is_good), show_cores(isolated), wanted, mend)
}

/// The cores, or all where none are chosen.
fn chosen(host: &Host, cores: &[usize]) -> Vec<usize> {
    if cores.is_empty() { host.online() } else { cores.to_vec() }
}

fn governor(host: &Host, cores: &[usize]) -> Finding {
    let governor =
        |core| host.text(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"));
    let mut found: Vec<String> = chosen(host, cores).into_iter().filter_map(governor).collect();
    found.sort();
    found.dedup();
    let status = match found.as_slice() {
        [] => Status::Unknown,
        found => good_if(found.iter().all(|name| name == "performance")),
    };
    let found =
        if found.is_empty() { "the host does not tell".to_owned() } else { found.join(", ") };
    finding("governor", status, found, "performance", "cpupower frequency-set -g performance")
}

fn c_states(host: &Host, cores: &[usize]) -> Finding {
    let mut deepest: Option<(u64, String)> = None;
    let mut is_told = false;
    for core in chosen(host, cores) {
        let folder = format!("/sys/devices/system/cpu/cpu{core}/cpuidle");
        for state in host.names(&folder) {
            let read = |file: &str| host.text(&format!("{folder}/{state}/{file}"));
            let Some(latency_us) = read("latency").and_then(|text| text.parse::<u64>().ok()) else {
                continue;
            };
            is_told = true;
            let is_off = read("disable").is_some_and(|text| text != "0");
            if !is_off && deepest.as_ref().is_none_or(|(most, _)| latency_us > *most) {
                deepest = Some((latency_us, read("name").unwrap_or(state)));
            }
        }
    }
    let (status, found) = match deepest {
        Some((latency_us, name)) => {
            (good_if(latency_us <= WAKE_MAX_US), format!("{name}, {latency_us} µs to wake up"))
        }
        None if is_told => (Status::Good, "none is on".to_owned()),
        None => (Status::Unknown, "the host does not tell".to_owned()),
    };
    let wanted = format!("none that takes more than {WAKE_MAX_US} µs to wake up from");
    finding(
        "c_states",
        status,
        found,
        wanted,
        "cpupower idle-set -D 10, or intel_idle.max_cstate=1 at boot",
    )
}

fn siblings(host: &Host, cores: &[usize]) -> Finding {
    let mut shared = Vec::new();
    let mut is_told = false;
    for core in chosen(host, cores) {
        let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        if let Some(threads) = host.cores(&path) {
            is_told = true;
            let is_shared = threads.iter().any(|thread| *thread != core);
            shared.extend(is_shared.then(|| show_cores(&threads)));
        }
    }
    shared.dedup();
    let status = if is_told { good_if(shared.is_empty()) } else { Status::Unknown };
    let found = match (is_told, shared.is_empty()) {
        (false, _) => "the host does not tell".to_owned(),
        (true, true) => "each core has one thread".to_owned(),
        (true, false) => format!("threads {} share a core", shared.join(" and ")),
    };
    let mend = "echo off > /sys/devices/system/cpu/smt/control, or take the other thread offline";
    finding("smt_siblings", status, found, "no other thread on the engine's cores", mend)
}

/// Memory is of the node whose core touches it first; that of another is half as fast.
fn nodes(host: &Host, cores: &[usize]) -> Finding {
    const NODES: &str = "/sys/devices/system/node";
    let chosen = chosen(host, cores);
    let mut found = Vec::new();
    for name in host.names(NODES) {
        let Some(cores) = host.cores(&format!("{NODES}/{name}/cpulist")) else { continue };
        let of_node: Vec<usize> =
            chosen.iter().copied().filter(|core| cores.contains(core)).collect();
        if !of_node.is_empty() {
            found.push(format!("{} on {name}", show_cores(&of_node)));
        }
    }
    let status = match found.len() {
        0 => Status::Unknown,
        count => good_if(count == 1),
    };
    let found =
        if found.is_empty() { "the host does not tell".to_owned() } else { found.join(", ") };
    let mend = "name cores of one node in engine.cores: lscpu -e shows them";
    finding("numa_node", status, found, "all of the engine's cores on one node", mend)
}

fn interrupts(host: &Host, cores: &[usize]) -> Finding {
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Vec<String> = host.names("/proc/irq").into_iter().filter(is_number).collect();
    let comes_here = |number: &&String| {
        // Where it goes in fact, which may be one of those where it may go.
        let read = |file: &str| host.text(&format!("/proc/irq/{number}/{file}"));
        let list = read("effective_affinity_list").filter(|list| !list.is_empty());
        let list = list.or_else(|| read("smp_affinity_list")).unwrap_or_default();
        parse_cores(&list).iter().any(|core| cores.contains(core))
    };
    let here: Vec<&String> = numbers.iter().filter(comes_here).collect();
    let (status, found) = match (cores.is_empty(), numbers.is_empty()) {
        (true, _) => (Status::Unknown, "no core is chosen or isolated".to_owned()),
        (_, true) => (Status::Unknown, "the host does not tell".to_owned()),
        _ => {
            let shown: Vec<&str> = here.iter().take(8).map(|number| number.as_str()).collect();
            let found = match here.len() {
                0 => format!("none of {} on cores {}", numbers.len(), show_cores(cores)),
                count => format!("{count} of {} on them: {}", numbers.len(), shown.join(", ")),
            };
            (good_if(here.is_empty()), found)
        }
    };
    let mend =
        "irqaffinity=LIST of the other cores at boot; IRQBALANCE_BANNED_CPULIST for irqbalance";
    finding("irq_affinity", status, found, "no interrupt on the engine's cores", mend)
}

fn huge_pages(host: &Host) -> Finding {
    let text = host.text("/sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = text.as_deref().and_then(|text| text.split(['[', ']']).nth(1));
    let status = chosen.map_or(Status::Unknown, |chosen| good_if(chosen != "always"));
    let found = chosen.unwrap_or("the host does not tell");
    let mend = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
    finding(
        "transparent_huge_pages",
        status,
        found,
        "madvise or never: no pages joined behind our back",
        mend,
    )
}

fn clock_source(host: &Host) -> Finding {
    let found = host.text("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let is_fast = |name: &str| matches!(name, "tsc" | "arch_sys_counter");
    let status = found.as_deref().map_or(Status::Unknown, |name| good_if(is_fast(name)));
    let found = found.unwrap_or_else(|| "the host does not tell".to_owned());
    finding(
        "clock_source",
        status,
        found,
        "tsc: read without a system call",
        "clocksource=tsc tsc=reliable at boot",
    )
}

fn clock_sync(host: &Host) -> Finding {
    let daemons = [
        ("/run/chrony/chronyd.pid", "chronyd"),
        ("/run/chronyd.pid", "chronyd"),
        ("/run/ntpd.pid", "ntpd"),
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
    ];
    let found = daemons.into_iter().find(|(path, _)| host.exists(path)).map(|(_, name)| name);
    let status = good_if(found.is_some());
    let found = found.map_or_else(|| "nothing that sets the clock".to_owned(), str::to_owned);
    let mend = "install chrony; `cobring` lives with a wrong clock, but its times tell nothing about the venue's";
    finding("clock_sync", status, found, "chronyd, ntpd or systemd-timesyncd, in step", mend)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn shared_memory(needs: &Needs) -> Finding {
    // The directory itself is made by the engine.
    let place = needs.shared_memory_dir.ancestors().find(|place| place.exists());
    let free = place.and_then(|place| statvfs(place).ok()).map(|fs| fs.f_bavail * fs.f_frsize);
    let status = free.map_or(Status::Unknown, |free| good_if(free >= needs.shared_memory_bytes));
    let found =
        free.map_or("not to be asked".to_owned(), |free| format!("{} free", mebibytes(free)));
    let wanted = format!("{} for the symbols", mebibytes(needs.shared_memory_bytes));
    finding("shared_memory", status, found, wanted, "mount -o remount,size=… /dev/shm")
}

fn memory_limit(host: &Host, needs: &Needs) -> Finding {
    let own = host.text("/proc/self/cgroup").unwrap_or_default();
    let paths = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("", path) => Some((format!("/sys/fs/cgroup{path}"), "memory.max")),
            ("memory", path) => {
                Some((format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limit = |(path, file): (String, &str)| host.text(&format!("{path}/{file}"))?.parse().ok();
    // Version 1 says "none" by a number of pages that no machine has.
    let limit: Option<u64> = paths.filter_map(limit).filter(|limit| *limit < 1 << 60).min();
    let wanted = needs.shared_memory_bytes + OWN_MEMORY_BYTES;
    let status = good_if(limit.is_none_or(|limit| limit >= wanted));
    let found = limit.map_or("no limit".to_owned(), mebibytes);
    let wanted = format!("{}, shared memory counts", mebibytes(wanted));
    finding(
        "memory_limit",
        status,
        found,
        wanted,
        "MemoryMax= of the unit, or the container's limit",
    )
}

fn locked_memory(needs: &Needs) -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    let wanted = needs.shared_memory_bytes + OWN_MEMORY_BYTES;
    let is_enough = limit.is_none_or(|limit| limit >= wanted);
    let found = limit.map_or("no limit".to_owned(), |limit| format!("{} KiB", limit >> 10));
    let (status, wanted) = if needs.locks_memory {
        (good_if(is_enough), format!("{}, for engine.lock_memory", mebibytes(wanted)))
    } else {
        (Status::Good, "anything: engine.lock_memory is off".to_owned())
    };
    finding(
        "memlock_limit",
        status,
        found,
        wanted,
        "LimitMEMLOCK=infinity of the unit, or ulimit -l",
    )
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current;
    let status = good_if(limit.is_none_or(|limit| limit >= OPEN_FILES_MIN));
    let found = limit.map_or("no limit".to_owned(), |limit| limit.to_string());
    finding(
        "open_files_limit",
        status,
        found,
        OPEN_FILES_MIN.to_string(),
        "LimitNOFILE=65536 of the unit, or ulimit -n",
    )
}

fn throttling(host: &Host) -> Finding {
    let count = |core| {
        let path =
            format!("/sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count");
        host.text(&path)?.parse::<u64>().ok()
    };
    let counts: Vec<u64> = host.online().into_iter().filter_map(count).collect();
    let sum: u64 = counts.iter().sum();
    let status = if counts.is_empty() { Status::Unknown } else { good_if(sum == 0) };
    let found = match counts.as_slice() {
        [] => "the host does not tell".to_owned(),
        _ => format!("{sum} times since boot"),
    };
    finding(
        "throttling",
        status,
        found,
        "never: a hot core slows down",
        "better cooling, or a lower top frequency",
    )
}

fn steal(host: &Host) -> Finding {
    let text = host.text("/proc/stat").unwrap_or_default();
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let times: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user.
    let all: u64 = times.iter().take(8).sum();
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let percent = times.get(7).filter(|_| all > 0).map(|steal| 100.0 * *steal as f64 / all as f64);
    let status = percent.map_or(Status::Unknown, |percent| good_if(percent <= STEAL_MAX_PERCENT));
    let found = percent.map_or("the host does not tell".to_owned(), |percent| {
        format!("{percent:.2} % since boot")
    });
    let wanted = format!("at most {STEAL_MAX_PERCENT} %");
    finding("steal_time", status, found, wanted, "a machine, or cores of it, that nobody else has")
}

fn remove_ipc(host: &Host, user: u32) -> Finding {
    let mut files = vec!["/etc/systemd/logind.conf".to_owned()];
    let folder = "/etc/systemd/logind.conf.d";
    files.extend(host.names(folder).into_iter().map(|name| format!("{folder}/{name}")));
    let texts: Vec<String> = files.iter().filter_map(|file| host.text(file)).collect();
    let set = texts.iter().flat_map(|text| text.lines());
    let set = set.filter_map(|line| line.trim().strip_prefix("RemoveIPC=")).next_back();
    let is_kept = matches!(set, Some("no" | "false" | "0" | "off"));
    let is_person = user >= FIRST_PERSON;
    let status = match (texts.is_empty(), is_person) {
        (true, _) => Status::Unknown,
        (_, is_person) => good_if(is_kept || !is_person),
    };
    let found = match (texts.is_empty(), set) {
        (true, _) => "no systemd-logind".to_owned(),
        (_, Some(set)) => format!("RemoveIPC={set}, user {user}"),
        (_, None) => format!("RemoveIPC=yes by default, user {user}"),
    };
    let wanted = "no, or a user of the system: shared memory goes when its user logs out";
    finding(
        "remove_ipc",
        status,
        found,
        wanted,
        "RemoveIPC=no in /etc/systemd/logind.conf, or run as a system user",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn needs(cores: &[usize]) -> Needs {
        Needs {
            cores: cores.to_vec(),
            shared_memory_dir: PathBuf::from("/"),
            shared_memory_bytes: 1,
            locks_memory: false,
        }
    }

    /// A host of these files.
    fn host(files: &[(&str, &str)]) -> (TempDir, Host) {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::at(root.path());
        (root, host)
    }

    fn check(name: &str, cores: &[usize], files: &[(&str, &str)], status: Status, found: &str) {
        let (_root, host) = host(files);
        let findings = all(&host, &needs(cores));
        let finding = findings.into_iter().find(|finding| finding.check == name).unwrap();
        assert_eq!((finding.status, finding.found.as_str()), (status, found), "{name} {files:?}");
    }

    #[test]
    fn cores_are_good_where_they_are_the_engines_alone() {
        let isolated = ("/sys/devices/system/cpu/isolated", "2-3\n");
        check("isolated_cores", &[2], &[isolated], Status::Good, "2-3");
        check("isolated_cores", &[1, 2], &[isolated], Status::Bad, "2-3");
        check("isolated_cores", &[], &[], Status::Bad, "none");
        let siblings = "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list";
        check("smt_siblings", &[2], &[(siblings, "2")], Status::Good, "each core has one thread");
        check("smt_siblings", &[2], &[(siblings, "2,6")], Status::Bad, "threads 2,6 share a core");
        check("smt_siblings", &[2], &[], Status::Unknown, "the host does not tell");
        let nodes = [
            ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("/sys/devices/system/node/node1/cpulist", "4-7\n"),
        ];
        check("numa_node", &[1, 3], &nodes, Status::Good, "1,3 on node0");
        check("numa_node", &[3, 4], &nodes, Status::Bad, "3 on node0, 4 on node1");
        check("numa_node", &[3, 4], &[], Status::Unknown, "the host does not tell");
    }

    #[test]
    fn interrupts_count_where_they_go() {
        let may = ("/proc/irq/24/smp_affinity_list", "0-3");
        let does = ("/proc/irq/24/effective_affinity_list", "1");
        check("irq_affinity", &[2], &[may], Status::Bad, "1 of 1 on them: 24");
        check("irq_affinity", &[2], &[may, does], Status::Good, "none of 1 on cores 2");
        check("irq_affinity", &[], &[may], Status::Unknown, "no core is chosen or isolated");
    }

    #[test]
    fn power_saving_is_bad() {
        let governor = "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor";
        check("governor", &[2], &[(governor, "performance")], Status::Good, "performance");
        check("governor", &[2], &[(governor, "powersave\n")], Status::Bad, "powersave");
        check("governor", &[2], &[], Status::Unknown, "the host does not tell");
        let idle = "/sys/devices/system/cpu/cpu2/cpuidle";
        let [latency, name, disable] =
            ["latency", "name", "disable"].map(|file| format!("{idle}/state3/{file}"));
        let deep = [(latency.as_str(), "133"), (name.as_str(), "C6")];
        check("c_states", &[2], &deep, Status::Bad, "C6, 133 µs to wake up");
        let off = [(latency.as_str(), "133"), (disable.as_str(), "1")];
        check("c_states", &[2], &off, Status::Good, "none is on");
    }

    #[test]
    fn time_is_read_fast_and_set_by_somebody() {
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        check("clock_source", &[], &[(source, "tsc\n")], Status::Good, "tsc");
        check("clock_source", &[], &[(source, "hpet")], Status::Bad, "hpet");
        check("clock_sync", &[], &[("/run/chrony/chronyd.pid", "7")], Status::Good, "chronyd");
        check("clock_sync", &[], &[], Status::Bad, "nothing that sets the clock");
        let pages = "/sys/kernel/mm/transparent_hugepage/enabled";
        let always = [(pages, "[always] madvise never")];
        check("transparent_huge_pages", &[], &always, Status::Bad, "always");
        let madvise = [(pages, "always [madvise] never")];
        check("transparent_huge_pages", &[], &madvise, Status::Good, "madvise");
    }

    #[test]
    fn what_others_take_is_bad() {
        let stat = |text| [("/proc/stat", text)];
        check(
            "steal_time",
            &[],
            &stat("cpu  90 0 0 10 0 0 0 0 0 0"),
            Status::Good,
            "0.00 % since boot",
        );
        check(
            "steal_time",
            &[],
            &stat("cpu  90 0 0 8 0 0 0 2 0 0"),
            Status::Bad,
            "2.00 % since boot",
        );
        check("steal_time", &[], &stat(""), Status::Unknown, "the host does not tell");
        let group = ("/proc/self/cgroup", "0::/x\n");
        let limit = |text| [group, ("/sys/fs/cgroup/x/memory.max", text)];
        check("memory_limit", &[], &limit("max"), Status::Good, "no limit");
        check("memory_limit", &[], &limit("104857600"), Status::Bad, "100 MiB");
    }

    #[test]
    fn shared_memory_that_goes_with_its_user_is_bad() {
        let logind = "/etc/systemd/logind.conf";
        let check = |text: Option<&str>, user, wanted| {
            let files: Vec<_> = text.into_iter().map(|text| (logind, text)).collect();
            let (_root, host) = host(&files);
            assert_eq!(remove_ipc(&host, user).status, wanted, "{text:?} {user}");
        };
        check(Some("[Login]\n#RemoveIPC=yes\n"), 1_000, Status::Bad);
        check(Some("[Login]\n#RemoveIPC=yes\n"), 990, Status::Good);
        check(Some("[Login]\nRemoveIPC=no\n"), 1_000, Status::Good);
        check(None, 1_000, Status::Unknown);
    }
}
